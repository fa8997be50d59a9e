"""Check names and prose of the code against the project's vocabulary.

Usage: `python scripts/check_language.py [PATH ...]`; prints one `file:line: ...` per violation and
exits with status 1 if there is one. Without paths it checks src, experiments, scripts and
benchmarks. `tests/test_language.py` runs it over all of them.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "experiments", "scripts", "benchmarks", "integrations")
TEXT_SUFFIXES = (".html", ".j2", ".jinja", ".js", ".css")

_UNITS = (
    "frame|clip|second|minute|hour|pixel|patient|beat|head|channel|token|step|view|structure|file|"
    "line|row|column|class|epoch|batch|process|processor|core|millimetre|centimetre|millilitre|"
    "day|run|heart|tier|item|bin|element|network|model|sample|image|picture|study|video|square"
)
_COUNTED = (
    "frames|clips|pixels|steps|patients|beats|heads|channels|tokens|views|rows|columns|values|"
    "images|pictures|videos|volumes|hearts|bytes|seconds|minutes|operations|scatterers|samples|"
    "masks|labels|numbers|points|moves|draws|rounds|items|weights|times|features|curves|"
    "s|ms|mm|cm|ml|px|kB|MB|GB|Hz|dB|millimetres|milliseconds|megabytes|once|twice"
)
_COMPARED = "longer|more|less|larger|smaller|greater|worse|better|lower|higher|later|earlier|reason"

# pattern over prose (case ignored) -> what to write instead
PROSE = {
    rf"\b(?:{_COUNTED}) an? (?:square )?(?:{_UNITS})\b(?! of\b)": "'per': 'frames per second'",
    rf"\b(?:an?|one|two|three|four) \w+ an? (?:{_UNITS})\b": "'per': 'one row per frame'",
    rf"\b(?:one|two) an? (?:{_UNITS})\b": "'one per frame'",
    r"\bof all draws\b": "'random seed'",
    r"\bso (?:many|much|few) (?!that\b|as\b)": "the number",
    r"(?<!there )\b(?:is|are) (?-i:none)\b": "'is not one', 'is implausible'",
    rf"(?<!there )\b(?:is|are|was|were) no (?!{_COMPARED})\w+\b": "'is not a ...'",
    r"\bjudge[sd]?\b|\bjudging\b": "'evaluate'",
    r"\b(?:many|of|few|between|after|\d) looks\b|\blooks? without\b": "'validation rounds'",
    r"\bspoil(?:s|t|ed|ing)?\b": "'corrupt'",
    r"\bfilm(?:s|ed|ing)?\b": "'simulate', 'clip', 'video'",
    r"\bdoubt(?:s|ed|ful)?\b": "'uncertainty'",
    r"\b(?:dis)?trust(?:s|ed|worthy)?\b(?!\.json)": "'reliability', 'confidence'",
    r"\blearnt\b": "'learned', 'trained'",
    r"\b(?:is|are|was|were|be|been|not|what|all) told\b": "'reported', 'given'",
    r"\btold (?:alike|apart|of|in|by|from)\b": "'reported', 'distinguished'",
    r"\btells? (?:apart|of)\b": "'distinguishes', 'describes'",
    r"\bnobody\b|\bwhat no one\b": "what is meant: 'unlabeled data', 'is unknown'",
    r"\bhears? of\b": "'attends to', 'receives'",
    r"\b(?:go|goes|going|gone|went) on with\b": "'resume', 'continue'",
    r"\b(?:clips|data|collections?|set) beside\b": "'extra data', 'compared with'",
    r"\bbeside (?:the (?:labelled|labeled|own|data)|own)\b": "'in addition to'",
    r"\bmay not be (?:entered|written|read|made)\b": "'cannot be ...', 'is not writable'",
    r"\bsee the module\b|^see `[^`]*`\.$": "what it does, or nothing",
    r"\bways? of learning\b": "'training method'",
    r"\bfor good\b": "'permanently'",
    r"\bby heart\b|\bever so\b|\bhitherto\b|\bthereof\b|\bwherein\b": "plain English",
    r"\bin parts of\b": "'as a fraction of'",
    r"\bshares? of (?:the )?(?:labelled|labels|labeled|patients)\b": "'labeled fraction'",
    r"\bclips? of (?:one'?s|your) own\b|\bmade clips\b": "'custom clips', 'simulated clips'",
    r"\bthe (?:whole )?house\b": "'the project'",
}  # fmt: skip

# words of an identifier, after splitting at `_` and at capitals -> what to write instead
WORDS = {
    "judge": "evaluate", "judged": "evaluated", "judges": "eval_sets", "judging": "evaluation",
    "told": "a noun", "spoilt": "corrupted", "spoil": "corrupt", "learnt": "trained",
    "film": "simulate, clip, video", "filmed": "simulated", "films": "clips",
    "doubt": "uncertainty", "doubts": "uncertainties", "trust": "reliability",
    "distrust": "unreliable", "trusted": "reliable", "standpoint": "probe_pose",
    "befores": "causal_masks", "looks": "validation_rounds", "beside": "extra_data",
    "most": "max", "least": "min", "longest": "max", "shortest": "min", "greatest": "max",
    "fewest": "min",
}  # fmt: skip
# the only word of an identifier, leading underscores aside
WHOLE_NAMES = {
    "found": "result, measurement, ...", "seen": "a noun", "kept": "a noun", "shown": "a noun",
    "asked": "requested, options", "told": "a noun", "made": "a noun", "taken": "a noun",
    "given": "a noun", "said": "a noun", "gone": "a noun", "wrong": "error, violations",
}  # fmt: skip

# (file, text of the violation): reason why it stays
ALLOWED: dict[tuple[str, str], str] = {
    ("src/echoseg/report/figures/phantom_sheet.py", "film"): "name of an output file",
}


@dataclass(frozen=True)
class Violation:
    """One use of a discouraged name or phrase."""

    path: str
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: write {self.advice}"


_PROSE = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in PROSE.items()]
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FINE = re.compile(r"at_(?:least|most)", re.IGNORECASE)


def identifier_violations(name: str) -> Iterator[tuple[str, str]]:
    """Yield (name, advice) if the vocabulary has another word for an identifier."""
    parts = [part.lower() for part in _PART.findall(_FINE.sub("", name))]
    if len(parts) == 1 and parts[0] in WHOLE_NAMES:
        yield name, WHOLE_NAMES[parts[0]]
        return
    for part in parts:
        if part in WORDS:
            yield name, WORDS[part]
            return


def prose_violations(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, phrase, advice) of each discouraged phrase; line breaks count as spaces."""
    flat = re.sub(r"\s", " ", text)
    flat = re.sub(r" {2,}", lambda gap: " " + "\0" * (len(gap.group()) - 1), flat)
    index = [i for i, letter in enumerate(flat) if letter != "\0"]
    flat = flat.replace("\0", "")
    for pattern, advice in _PROSE:
        for match in pattern.finditer(flat):
            yield index[match.start()], match.group(), advice


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(ctx=ast.Store()):
            yield node.id
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr
        case ast.arg():
            yield node.arg
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.alias(asname=str()):
            yield str(node.asname)


def _prose(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of strings that hold a space; braces of f-strings stand as `{}`."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in inside and " " in node.value:
                yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of comments; those of adjacent lines are one text."""
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line == last + 1:
            block.append(token.string.lstrip("# "))
        else:
            if block:
                yield start, "\n".join(block)
            block, start = [token.string.lstrip("# ")], line
        last = line
    if block:
        yield start, "\n".join(block)


def source_violations(source: str, path: str) -> list[Violation]:
    """Check one Python source."""
    tree = ast.parse(source)
    violations = [
        Violation(path, getattr(node, "lineno", 1), text, advice)
        for node in ast.walk(tree)
        for name in _names(node)
        for text, advice in identifier_violations(name)
    ]
    for line, text in (*_prose(tree), *_comments(source)):
        violations += [
            Violation(path, line + text.count("\n", 0, offset), phrase, advice)
            for offset, phrase, advice in prose_violations(text)
        ]
    return [v for v in violations if (v.path, v.text) not in ALLOWED]


def file_violations(path: Path) -> list[Violation]:
    """Check one file: names and prose of Python, the text of anything else."""
    name = path.resolve().relative_to(ROOT).as_posix()
    text = path.read_text("utf-8")
    if path == Path(__file__):
        return []  # the rules name what they forbid
    if path.suffix == ".py":
        return source_violations(text, name)
    return [
        Violation(name, 1 + text.count("\n", 0, offset), phrase, advice)
        for offset, phrase, advice in prose_violations(text)
        if (name, phrase) not in ALLOWED
    ]


def all_violations(roots: list[Path]) -> list[Violation]:
    """Check files, and folders with all that is in them."""
    files = [root for root in roots if root.is_file()]
    for root in roots:
        files += [p for p in sorted(root.rglob("*")) if p.suffix in (".py", *TEXT_SUFFIXES)]
    violations = [v for file in files for v in file_violations(file)]
    return sorted(violations, key=lambda v: (v.path, v.line))


if __name__ == "__main__":
    paths = [Path(argument).resolve() for argument in sys.argv[1:]]
    lines = all_violations(paths or [ROOT / folder for folder in FOLDERS])
    print(*lines, sep="\n")
    sys.exit(1 if lines else 0)
