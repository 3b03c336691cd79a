"""Several modules in one file do what they did in several."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chatd.web.assets import BUNDLED
from chatd.web.bundling import bundle, bundle_sheet
from chatd.web.slimming import slim

STATIC = Path(__file__).parent.parent / "static"
BUBBLE = STATIC / "bubble"


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / "entry.js"


@pytest.mark.node
def test_a_bundle_runs_each_module_once_and_in_order(tmp_path: Path, node_path: str) -> None:
    entry = write(
        tmp_path,
        entry='import { twice } from "./twice.js";\nimport { log as kept } from "./log.js";\n'
        'export class Entry {\n  said = [twice(4), ...kept];\n}\nexport const word = "it\'s";\n',
        twice='import {\n  log,\n} from "./log.js";\nlog.push("twice");\n'
        "/** @param {number} value */\nexport function twice(value) {\n  return value * 2;\n}\n",
        log='// Once.\nexport const log = ["log"];\nconst entry = "not the others\'";\nlog.push(entry.slice(0, 3));\n',
    )
    (tmp_path / "bundle.mjs").write_text(bundle(entry), encoding="utf-8")
    program = (
        "const { Entry, word, ...rest } = await import('./bundle.mjs');"
        "console.log(JSON.stringify([new Entry().said, word, Object.keys(rest)]));"
    )
    (tmp_path / "run.mjs").write_text(program, encoding="utf-8")
    result = subprocess.run([node_path, "run.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == '[[8,"log","not","twice"],"it\'s",[]]', result.stderr


@pytest.mark.parametrize(
    "line",
    [
        'import Default from "./log.js";',
        'import * as everything from "./log.js";',
        'export { log } from "./log.js";',
        "export default 1;",
        "export let changing = 1;",
    ],
)
def test_a_form_that_it_does_not_know_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    entry = write(tmp_path, entry=f"{line}\n", log="export const log = [];\n")
    with pytest.raises(ValueError, match=r"entry\.js: cannot be bundled because of '(import|export)"):
        bundle(entry)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    entry = write(
        tmp_path,
        entry='import { log } from "./log.js";\nexport const a = 1;\n',
        log='import { a } from "./entry.js";\nexport const log = [];\n',
    )
    with pytest.raises(ValueError, match="imports itself"):
        bundle(entry)


@pytest.mark.node
def test_what_is_fetched_later_is_found_from_where_the_module_stood(tmp_path: Path, node_path: str) -> None:
    parts = tmp_path / "parts"
    (parts / "words").mkdir(parents=True)
    entry = write(
        tmp_path,
        entry='import "./parts/first.js";\nimport { word, own } from "./parts/late.js";\n'
        "word().then((said) => console.log(JSON.stringify([globalThis.first, said, own.split('/').slice(-2)])));\n",
    )
    write(
        parts,
        first='globalThis.first = "first";\n',
        late="/** Which. */\nexport const own = import.meta.url;\nconst name = globalThis.first && 'en';\n"
        "export async function word() {\n  const { default: found } = await import(`./words/${name}.js`);\n"
        "  return found;\n}\n",
    )
    write(parts / "words", en='export default "word";\n')
    (tmp_path / "bundle.mjs").write_text(bundle(entry), encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    result = subprocess.run([node_path, "bundle.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == '["first","word",["parts","late.js"]]', result.stderr


@pytest.mark.node
@pytest.mark.parametrize("name", sorted(name for name in BUNDLED if name.endswith(".js")))
def test_everything_that_is_served_joined_is_a_program(name: str, tmp_path: Path, node_path: str) -> None:
    path = tmp_path / "bundle.mjs"
    path.write_text(bundle(STATIC / name), encoding="utf-8")
    result = subprocess.run([node_path, "--check", path], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.node
@pytest.mark.parametrize(("name", "exported"), [("panel.js", "Panel"), ("session.js", "Session")])
def test_the_bubbles_own_bundles_are_programs(name: str, exported: str, tmp_path: Path, node_path: str) -> None:
    (tmp_path / "bundle.mjs").write_text(bundle(BUBBLE / name), encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        "console.log(Object.keys(await import('./bundle.mjs')).join());", encoding="utf-8"
    )
    result = subprocess.run([node_path, "run.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == exported, result.stderr


def test_sheets_are_joined_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "entry.css").write_text('/* All. */\n\n@import "./parts/b.css";\n@import "./a.css";\n')
    (tmp_path / "a.css").write_text("p {\n  color: red;\n}\n")
    (tmp_path / "parts" / "b.css").write_text('@import "../a.css";\nb {\n  mask: url("#m");\n}\n')
    assert bundle_sheet(tmp_path / "entry.css") == 'p {\ncolor: red;\n}\nb {\nmask: url("#m");\n}\n'


@pytest.mark.parametrize(
    "line",
    ['@import url("./a.css");', '@import "./a.css" print;', '@charset "utf-8";', "p { background: url(a.png); }"],
)
def test_what_would_not_mean_the_same_in_another_sheet_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "entry.css").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"entry\.css: cannot be bundled because of '"):
        bundle_sheet(tmp_path / "entry.css")


def test_the_inbox_waits_for_one_sheet_that_holds_them_all() -> None:
    entry = STATIC / "inbox" / "inbox.css"
    served = bundle_sheet(entry).split("\n")
    assert not [line for line in served if line.startswith("@import")]
    for path in [STATIC / "tokens.css", *(STATIC / "inbox" / "styles").glob("*.css")]:
        lines = slim(path.name, path.read_text(encoding="utf-8")).split("\n")
        assert set(filter(None, lines)) <= set(served), path.name
