"""How the modules import each other: downwards, as setup.cfg's contracts say, and in no circle."""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checking alone count too. A circle raises CycleError, which names it."""
    graph = grimp.build_graph("attnbench", cache_dir=None)
    imports = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    assert (
        "attnbench.kernels.vllm.attention_prepared" in imports["attnbench.kernels.vllm.attention"]
    )
    TopologicalSorter(imports).prepare()
