"""`tracer seed`: which rows of a file, what is said of its header, and where rejected rows go."""

import csv
from pathlib import Path

from tests.terminal import Terminal
from tests.world import World

BLUEPRINT = ("--blueprint", "normalize", "--name", "b")
ROWS = "id,name\n1,A\n2,B,more\n3,C\n,-\n5,E\n"


def test_rejected_rows_go_to_a_file_that_can_be_mended_and_seeded(
    tracer: Terminal, tmp_path: Path
) -> None:
    seed, rejects = tmp_path / "seed.csv", tmp_path / "rejects.csv"
    seed.write_text(ROWS)
    report = tracer.json("seed", str(seed), *BLUEPRINT, "--rejects", str(rejects))
    assert [each["line"] for each in report["rejected"]] == [3, 5]
    assert list(report["rejected"][0]) == ["line", "reason"]
    with rejects.open(newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["line", "reason", "id", "name"],
            ["3", "3 fields, the header has 2", "2", "B", "more"],
            [
                "5",
                "no value in key column 'id'; '-' in key column 'name' names no company",
                "",
                "-",
            ],
        ]
    rejects.write_text(rejects.read_text().replace(",more", "").replace(",,-", ",4,D"))
    assert tracer.json("seed", str(rejects), *BLUEPRINT)["companies_new"] == 2


def test_rejected_values_that_are_no_text_are_json(tracer: Terminal, tmp_path: Path) -> None:
    seed, rejects = tmp_path / "seed.jsonl", tmp_path / "rejects.csv"
    seed.write_text('{"id": 1}\n{"x": [1.50], "ok": true}\noops\n')
    tracer("seed", str(seed), *BLUEPRINT, "--rejects", str(rejects))
    with rejects.open(newline="") as lines:
        assert [row[2:] for row in csv.reader(lines)] == [
            ["id", "x", "ok"],
            ["", "[1.50]", "true"],
            ["oops\n"],
        ]


def test_no_rejects_file_is_made_when_nothing_is_seeded(tracer: Terminal, tmp_path: Path) -> None:
    (tmp_path / "seed.csv").write_text("id,name\n,-\n")
    tracer("seed", str(tmp_path / "seed.csv"), *BLUEPRINT, "--rejects", str(tmp_path / "r"), code=2)
    assert not (tmp_path / "r").exists()


def test_rejected_rows_and_the_document_do_not_mix(tracer: Terminal, tmp_path: Path) -> None:
    (tmp_path / "seed.csv").write_text(ROWS)
    words = ("seed", str(tmp_path / "seed.csv"), *BLUEPRINT, "--rejects", "-")
    assert tracer(*words).splitlines()[1] == '3,"3 fields, the header has 2",2,B,more'
    tracer(*words, "--json", code=2)
    assert "give --rejects a file" in tracer.err


def test_the_first_rows_can_be_seeded_alone(tracer: Terminal, tmp_path: Path, world: World) -> None:
    (tmp_path / "seed.csv").write_text(ROWS)
    report = tracer.json("seed", str(tmp_path / "seed.csv"), *BLUEPRINT, "--limit", "3")
    assert (report["rows"], len(world.ids())) == (3, 2)


def test_lines_before_the_header_are_told(tracer: Terminal, tmp_path: Path) -> None:
    (tmp_path / "seed.csv").write_text("Exported from CRM\n\nCompany,Website\nA,a.com\n")
    tracer("seed", str(tmp_path / "seed.csv"), *BLUEPRINT)
    assert "Lines 1 to 2 come before the header: passed over." in " ".join(tracer.err.split())
    words = ("seed", str(tmp_path / "seed.csv"), *BLUEPRINT)
    assert tracer.json(*words)["skipped_lines"] == 2
    assert tracer.json(*words, "--skip-lines", "2")["skipped_lines"] == 0
    (tmp_path / "seed.csv").write_text("sep=;\n\nCompany;Website\nA;a.com\n")
    assert tracer.json(*words)["skipped_lines"] == 0


def test_how_a_file_is_written_can_be_said(tracer: Terminal, tmp_path: Path) -> None:
    (tmp_path / "seed.txt").write_text('id#note\n1#"a"b\n')
    options = ("--format", "csv", "--delimiter", "#", "--quotes", "none")
    assert tracer.json("seed", str(tmp_path / "seed.txt"), *BLUEPRINT, *options)["rejected"] == []
    assert tracer("export", "b").splitlines()[1].startswith('1,1,"""a""b",')
