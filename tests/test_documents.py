"""What the pages say is there: links, anchors, paths, make targets; and the README stays short."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        *REPOSITORY.glob("docs/*.md"),
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md")),
    )
)
ELSEWHERE = re.compile(r"[a-z]+:")  # the scheme of an address
NAMED = re.compile(r"`((?:tests|workflow|config|docs|rules|profiles|benchmarks|envs)/[^`\s]*)`")
PATTERN = re.compile(r"[<>*{}…]")  # stands for several paths


def text_of(page):
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks_of(text):
    """The lines of code of a page: those indented by four spaces, and those between fences."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.M | re.S)
    return "\n".join(
        [*re.findall(r"^    (.*)$", text, re.M), *(line.strip() for part in fenced for line in part.split("\n"))]
    )


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    words = (re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M))
    return set(words)


def broken_links(page, text):
    """The links of a page that lead nowhere in the repository."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if ELSEWHERE.match(target):
            continue
        name, _, anchor = target.partition("#")
        path = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            found.append(target)
    return found


def missing_paths(text):
    """What a page names in backticks as a path of the repository or as a file of tests, and is none.

    A page about adding something announces what the reader writes: New file `path`.
    """
    added = re.findall(r"New file `([^`]+)`", text)
    names = (name.partition("::")[0] for name in NAMED.findall(text) if name not in added)
    missing = [name for name in names if not PATTERN.search(name) and not (REPOSITORY / name).exists()]
    tests = {path.stem for path in (REPOSITORY / "tests").rglob("test_*.py")}
    return missing + [name for name in re.findall(r"`(test_\w+)`", text) if name not in tests]


def missing_scripts(text):
    """The same for what is typed in a page's lines of code."""
    names = re.findall(r"(?<![\w/.-])((?:tests|workflow|config|profiles|benchmarks)/[\w./-]+)", blocks_of(text))
    return [name for name in names if not (REPOSITORY / name).exists()]


def make_targets(makefile):
    """The public targets of a Makefile: those declared as having no file."""
    return set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())


def missing_targets(text, known):
    """The make targets that a page names in backticks, or types at the beginning of a line of code, and are none."""
    named = re.findall(r"`make ([a-z-]+)[^`]*`", text) + re.findall(r"^make ([a-z-]+)", blocks_of(text), re.M)
    return sorted(set(named) - known)


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 130


def test_the_readme_defines_c_and_s_before_it_uses_them():
    text = text_of("README.md")
    assert "**c**, the number of trainable layers" in text and "**s**, the number of images" in text
    assert text.index("**s**, the number") < text.index("(c, s)")
    assert len(text[: text.index("**s**, the number")].splitlines()) < 25, "in the first screen"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page):
    assert broken_links(page, text_of(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_make_targets_that_a_page_names_are_there(page):
    text = text_of(page)
    assert missing_paths(text) == []
    assert missing_scripts(text) == []
    assert missing_targets(text, make_targets(text_of("Makefile"))) == []


def test_every_page_is_in_the_index():
    index = text_of("docs/README.md")
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_the_citation_has_the_projects_version_and_licence():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_workflow_catalogue_is_told_of_environments_that_are_there():
    usage = yaml.safe_load(text_of(".snakemake-workflow-catalog.yml"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["conda"] is any((REPOSITORY / "envs").glob("*.yaml"))
    assert (REPOSITORY / usage["mandatory-flags"]["flags"].removeprefix("--workflow-profile ")).is_dir()


def test_make_help_says_a_line_about_every_target():
    # Below `make test` make would also say which folder it enters and leaves.
    command = ["make", "--no-print-directory", "help"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^make ([a-z-]+) +(\S.*)$", printed, re.M)
    assert sorted(name for name, _ in lines) == sorted(make_targets(text_of("Makefile")))
    assert len(printed.splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("find", "good", "bad"),
    [
        (lambda text: broken_links("README.md", text), "[a](docs/nih.md)", "[a](docs/absent.md)"),
        (lambda text: broken_links("docs/nih.md", text), "[a](../README.md#two-commands)", "[a](../README.md#three)"),
        (lambda text: broken_links("README.md", text), "![a](docs/report.png)", "![a](docs/absent.png)"),
        (lambda text: broken_links("README.md", text), "# A b: c\n[a](https://x.org)", "[a](#a-b)"),
        (missing_paths, "`tests/tiny.yaml`, `tests/<room>/`", "`tests/test_absent.py`"),
        (missing_paths, "`config/paper.yaml`", "`config/papers.yaml`"),
        (missing_paths, "`test_documents`", "`test_absent`"),
        (missing_paths, "New file `rules/absent.smk`", "`rules/absent.smk`"),
        (missing_scripts, "    run --configfile config/paper.yaml", "    run --configfile config/papers.yaml"),
        (lambda text: missing_targets(text, {"test"}), "`make test`, will make sense", "`make tests`"),
        (lambda text: missing_targets(text, {"test"}), "    make test", "    make tests"),
        (lambda text: missing_targets(text, {"test"}), "```sh\nmake test\n```", "```sh\nmake tests\n```"),
    ],
)
def test_each_check_can_fail(find, good, bad):
    assert find(good) == []
    assert len(find(bad)) == 1
