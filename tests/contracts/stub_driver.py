"""Builds a libcuda.so.1 that answers nothing: python -m tests.contracts.stub_driver FOLDER

vLLM's extension links against the CUDA driver, so without one it cannot even be imported. The stub
has every driver symbol that vLLM's libraries ask for; calling one returns CUDA_ERROR_NO_DEVICE.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

NO_DEVICE = 100
DRIVER_SYMBOL = re.compile(r"\b(cu[A-Z]\w*)")
OTHER_LIBRARIES = re.compile(r"cu(da|BLAS|Blas|Sparse|Solver|Rand|FFT|DNN)")


def main(folder: Path) -> None:
    symbols = sorted({name for path in _libraries() for name in _undefined(path)})
    code = "".join(f"int {name}() {{ return {NO_DEVICE}; }}\n" for name in symbols)
    folder.mkdir(parents=True, exist_ok=True)
    compiler = ["gcc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-x", "c", "-"]
    command = [*compiler, "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, input=code, text=True, check=True)
    print(f"a stub of {len(symbols)} driver functions stands in {folder}")


def _libraries() -> list[Path]:
    """The shared objects of the installed vLLM, found without importing it."""
    spec = find_spec("vllm")
    assert spec is not None, "vLLM is not installed here"
    assert spec.origin is not None
    return sorted(Path(spec.origin).parent.rglob("*.so"))


def _undefined(library: Path) -> set[str]:
    command = ["nm", "-D", "--undefined-only", str(library)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].partition("@")[0] for line in listed.splitlines()}
    return {n for n in names if DRIVER_SYMBOL.fullmatch(n) and not OTHER_LIBRARIES.match(n)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
