"""Writes the pages made from the code: docs/methods/*.md, docs/operators.md, docs/families.md, docs/zoo.md, tables.

docs/reproduction.md is made from result files; its pictures by `python -m pellucid.bench.claims page`.

python docs/build.py          writes them
python docs/build.py --check  says which are out of date, and ends with 1 if any is
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pellucid.bench.claims import page as claims
from pellucid.cli.app import app
from pellucid.method import RUNGS
from pellucid.methods import METHODS, Preset
from pellucid.operators.families import FAMILIES
from pellucid.operators.named.entry import Parameter
from pellucid.operators.text import OPERATORS
from pellucid.start.degraded import Measured
from pellucid.train import config as training
from pellucid.zoo import Card

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MADE = "<!-- made by docs/build.py from the docstrings; change those -->"
CONFIGS: dict[str, type] = {
    "Every training": training.RunConfig,
    "prior": training.PriorConfig,
    "latent-prior (those of prior, and)": training.LatentPriorConfig,
    "autoencoder": training.AutoencoderConfig,
    "denoiser": training.DenoiserConfig,
    "supervised": training.SupervisedConfig,
    "severity": training.SeverityConfig,
    "parameter": training.ParameterConfig,
    "dirac": training.DiracConfig,
    "[ship]": training.ShipConfig,
}
LEADS = ("Reference", "Equations", "Defaults", "Differences", "Note")


def pages() -> dict[Path, str]:
    """Every page that is made, with its text."""
    folder = ROOT / "docs" / "methods"
    made = {folder / f"{slug(preset)}.md": method_page(preset) for preset in METHODS.values()}
    made[folder / "index.md"] = f"{MADE}\n\n# Methods\n\n{method_table('')}"
    made[ROOT / "docs" / "operators.md"] = operator_page()
    made[ROOT / "docs" / "families.md"] = family_page()
    made[README] = with_table(README.read_text(), method_table("docs/methods/"))
    page = ROOT / "docs" / "training.md"
    made[page] = with_table(page.read_text(), training_keys(), "keys")
    page = ROOT / "docs" / "adaptation.md"
    made[page] = with_table(page.read_text(), adaptation_options(), "adaptation")
    made[ROOT / "docs" / "zoo.md"] = zoo_page()
    made[claims.PAGE] = claims.text(claims.RESULTS)
    return made


def slug(preset: Preset) -> str:
    """The method's name as a file name."""
    return preset.name.replace("+", "-plus")


def method_page(preset: Preset) -> str:
    """A page from a preset's docstring."""
    body, _, arguments = preset.doc.partition("\nArgs:\n")
    summary, _, rest = body.partition("\n")
    lines = [MADE, "", f"# {preset.name}", "", summary, "", f"- Works with {needs(preset)}.", f"- {noise(preset)}"]
    lines += ["", *paragraphs(rest)]
    if preset.options:
        lines += ["## Options", "", "| option | default | |", "|---|---|---|", *options(preset, arguments), ""]
    lines += ["```python", "import pellucid", "", f'method = pellucid.methods.get("{preset.name}").build()', "```"]
    return "\n".join(lines) + "\n"


def needs(preset: Preset) -> str:
    """Which operators a method works with."""
    if isinstance(preset.make().start, Measured):  # the measurement has to be a place on the prior's path
        return "its prior's degradation (any other is refused)"
    return RUNGS.get(preset.needs, f"a {preset.needs.__name__.lower()}")


def noise(preset: Preset) -> str:
    """What the method makes of noise."""
    return "Models the measurement's noise." if preset.models_noise else "Made for noiseless measurements."


def paragraphs(text: str) -> Iterator[str]:
    """A docstring's paragraphs, what they are about in bold."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph:
            lead, colon, rest = paragraph.partition(":")
            yield f"**{lead}:**{rest}" if colon and lead in LEADS else paragraph
            yield ""


def options(preset: Preset, arguments: str) -> Iterator[str]:
    """Rows of the table of options; options that share an entry share its text."""
    texts = dict(entries(arguments))
    for name, default in preset.options.items():
        yield f"| `{name}` | `{default}` | {texts[name]} |"


def entries(arguments: str) -> Iterator[tuple[str, str]]:
    """(name, text) of a docstring's Args."""
    for entry in re.split(r"\n(?=    \w)", "\n" + arguments.rstrip())[1:]:
        names, _, text = entry.partition(":")
        for name in names.split(","):
            yield name.strip(), " ".join(text.split()).replace("|", "\\|")


def method_table(folder: str) -> str:
    """One line a method."""
    rows = [
        f"| [{preset.name}]({folder}{slug(preset)}.md) | {tail(preset.summary)} | {preset.default_nfe or '-'} "
        f"| {needs(preset).partition(' (')[0]} | {'yes' if preset.models_noise else 'no'} |"
        for preset in METHODS.values()
    ]
    head = ["| method | what it does | NFE | needs | models noise |", "|---|---|---|---|---|"]
    return "\n".join(head + rows) + "\n"


def tail(summary: str) -> str:
    """A summary without the method's name in front of it."""
    lead, colon, rest = summary.partition(": ")
    return (rest if colon and len(lead) < 25 else summary).replace("|", "\\|")


def with_table(text: str, table: str, mark: str = "methods") -> str:
    """A text with the table between its two marks replaced."""
    between = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    return re.sub(between, lambda m: m[1] + table + m[2], text, flags=re.DOTALL)


def training_keys() -> str:
    """The keys of every kind of configuration, from the docstrings of their dataclasses."""
    lines = []
    for title, kind in CONFIGS.items():
        texts = dict(entries(inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2]))
        own = [f for f in dataclasses.fields(kind) if f.name in kind.__annotations__ and f.name in texts]
        lines += [f"### {title}", "", "| key | default | |", "|---|---|---|"]
        lines += [f"| `{f.name}` | {_default(f)} | {texts[f.name]} |" for f in own]
        lines.append("")
    return "\n".join(lines)


def adaptation_options() -> str:
    """The options of `pellucid restore` that are about adaptation, with the help that the command prints."""
    lines = ["| option | |", "|---|---|"]
    for parameter in typer.main.get_command(app).commands["restore"].params:  # type: ignore[attr-defined]
        if "adapt" in str(parameter.name) or parameter.name == "neighbours":
            names = [*parameter.opts, *parameter.secondary_opts]
            shown = f" {parameter.metavar}" if parameter.metavar else ""
            lines.append(f"| `{', '.join(names)}{shown}` | {parameter.help} |")
    return "\n".join(lines) + "\n"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "-"
    return "-" if field.default is None else f"`{field.default}`"


def zoo_page() -> str:
    """A table of the shipped networks, from their cards."""
    lines = [MADE, "", "# Shipped networks", ""]
    lines += ["`photo` comes with pellucid, the others with `pip install pellucid-zoo` (or a checkout's `zoo/`).", ""]
    lines += ["`pellucid priors info NAME` prints the whole card: data, licences, command, checksum.", ""]
    for path in sorted((ROOT / "zoo").glob("*/card.json")):
        card = Card.read(path.parent)
        training, quality = card.data["training"], dict(card.data["quality"])
        size = (path.parent / "model.safetensors").stat().st_size / 1e6
        lines += [f"## {card.name}", "", f"{card.summary} ({card.kind}, {size:.1f} MB).", ""]
        lines += [f"Trained on {card.data['data']['what']}; {training['steps']} steps, {training['seconds']} s, "]
        lines[-1] += f"{training['device']}" + (f", begun from `{training['init']}`." if "init" in training else ".")
        lines += ["", *_quality_rows(quality), "", quality.get("protocol", ""), ""]
    return "\n".join(lines).rstrip() + "\n"


def _quality_rows(quality: dict[str, Any]) -> Iterator[str]:
    sets = {"": {k: v for k, v in quality.items() if not isinstance(v, dict)}}
    sets |= {name: value for name, value in quality.items() if isinstance(value, dict)}
    shown = [k for k in sets[""] if k not in ("protocol", "pictures") and not k.endswith("_95")]
    yield f"| held-out data | pictures | {' | '.join(shown)} |"
    yield "|---" * (len(shown) + 2) + "|"
    for name, values in sets.items():
        cells = []
        for key in shown:
            low_high = values.get(f"{key}_95")
            cells.append(f"{values.get(key, '-')}" + (f" [{low_high[0]}, {low_high[1]}]" if low_high else ""))
        yield f"| {name.replace('_', ' ') or 'evaluation'} | {values.get('pictures', '-')} | {' | '.join(cells)} |"


def operator_page() -> str:
    """One section an operator, from the table that the command line reads."""
    lines = [MADE, "", "# Operators", "", "What `--operator` understands, and `pellucid.operators.text.parse`."]
    for entry in OPERATORS.values():
        lines += ["", f"## {entry.name}", "", entry.summary, "", f"Example: `{entry.example}`"]
        if entry.parameters:
            lines += ["", "| parameter | default | |", "|---|---|---|", *map(parameter_row, entry.parameters)]
    return "\n".join(lines) + "\n"


def parameter_row(parameter: Parameter) -> str:
    """A row of the table of parameters."""
    default = "required" if parameter.required else "-" if parameter.default is None else f"`{parameter.default}`"
    return f"| `{parameter.name}` | {default} | {parameter.kind.name}: {parameter.help} |"


FAMILIES_ARE = """\
A family is a degradation that grows with time, A_t for t from 0 (nothing, or nearly) to 1 (all of it). Dirac restores
along one: its network is trained on A_t(x) + noise for all t, and restoring goes back from the time of the measurement.
Configurations of `pellucid train dirac` name a family with its parameters, as in `family = "hole:widest=40"`.

A_t is more severe than A_s where A_t = A_{s->t} A_s for some A_{s->t}: nothing that A_s has lost comes back (Fabian,
Tinaz and Soltanolkotabi, ICML 2024, definition 3.2). "Nested" families have one for all s < t; severity that is known
"by measurement" rises in the mean error over pictures. The distance is the most that A_0 changes a pixel of any picture
in [0, 1] of 256 x 256.

Which severities stand at evenly spaced times is a schedule. `pellucid schedule blur --data DIR -o FILE.json` makes one
for the blur, so that every step of time loses equally much of pictures like those in DIR by a metric (the greedy
algorithm of the paper), and `family = "blur:schedule=FILE.json"` takes it. The one in `papers/dirac/schedule-blur.json`
was made with EfficientNet features and six photographs, where the authors had LPIPS. After six generations of halvings
its 65 widths are within 0.06 pixels of the published ones, 0.03 in the mean (an even schedule: 0.32 and 0.20). With all
102 points it is 0.32 and 0.17 (even: 0.64 and 0.38), since which gaps are halved a seventh time hangs on small
differences of the metrics."""


def family_page() -> str:
    """A table of the families of degradations, and the parameters of each."""
    lines = [MADE, "", "# Families of degradations", "", FAMILIES_ARE, ""]
    lines += ["| family | what it does | A_0's distance | severity |", "|---|---|---|---|"]
    sections = []
    for name, kind in FAMILIES.items():
        made, text = kind((3, 256, 256)), inspect.cleandoc(kind.__doc__ or "")
        body, _, rest = text.partition("\nArgs:\n")
        texts = dict(entries(rest.partition("\n\n")[0]))
        severity = "nested" if made.nested else "by measurement"
        lines.append(
            f"| [{name}](#{name}) | {body.partition(chr(10) * 2)[0].strip()} | {made.distance:.3g} | {severity} |"
        )
        sections += ["", f"## {name}", "", *paragraphs(body), "| parameter | default | |", "|---|---|---|"]
        for parameter in list(inspect.signature(kind).parameters.values())[1:]:
            default = "-" if parameter.default is None else f"`{parameter.default}`"
            sections.append(f"| `{parameter.name}` | {default} | {texts[parameter.name]} |")
    return "\n".join(lines + sections) + "\n"


def main() -> int:
    """Writes or checks the pages."""
    made, check = pages(), "--check" in sys.argv[1:]
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'out of date' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
