"""How modules import each other: downwards, as setup.cfg says, in no circle. What names mean."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import attnbench


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checking alone count too. A circle raises CycleError, which names it."""
    graph = grimp.build_graph("attnbench", cache_dir=None)
    imports = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    assert (
        "attnbench.kernels.vllm.attention_prepared" in imports["attnbench.kernels.vllm.attention"]
    )
    TopologicalSorter(imports).prepare()


def test_a_public_class_name_means_one_thing() -> None:
    """Backends are named for the library that they call, in whatever family."""
    package = Path(attnbench.__file__).parent
    names = Counter(
        node.name
        for path in package.rglob("*.py")
        if "kernels" not in path.parts
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
