"""Write how far the installed vLLM's backends are driven: python -m tests.contracts.survey

The file has what `make contracts` holds against the release; `make docs` makes a page of it.
"""

import json
from importlib.metadata import version

from attnbench.kernels.vllm.names import registered
from scripts.registry_tables import SURVEY
from tests.contracts import conftest
from tests.contracts.driven import QUESTIONS, chosen, offered, surveyed
from tests.contracts.faked_device import GENERATION


def main() -> None:
    survey = json.loads(SURVEY.read_text(encoding="utf-8")) if SURVEY.exists() else {}
    release = survey.setdefault(version("vllm"), {})
    release[GENERATION] = surveyed(conftest.LEFT_OUT)
    asked = release.setdefault("selected", {})
    asked[GENERATION] = {name: chosen(name) for name in QUESTIONS}
    release["not offered"] = sorted(set(registered()) - {each.enum for each in offered()})
    SURVEY.write_text(json.dumps(survey, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
