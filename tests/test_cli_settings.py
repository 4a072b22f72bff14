"""Settings of commands: flags over file over defaults, errors of files, records that do the same again."""

import argparse
import inspect
import subprocess
import sys

import pytest
import yaml

from ase_spinml import cli
from ase_spinml.commands import record
from ase_spinml.commands.fit_settings import DESCRIPTOR, KERNEL, NETWORK, SIGMAS
from ase_spinml.commands.fit_settings import SETTINGS as FIT
from ase_spinml.commands.kinds import EXPECTED, METAVAR, count, number, path, truth, word
from ase_spinml.commands.run_settings import SETTINGS as RUN
from ase_spinml.commands.settings import Setting, add_flags, resolve
from ase_spinml.errors import InputError

SETTINGS = (
    Setting("kind", word, "a", "kind of thing", choices=("a", "b")),
    Setting("cutoff", number, 5.0, "range"),
    Setting("files", path, None, "a file"),
    Setting("only_b", count, 3, "of b alone", only=("b",)),
    Setting("flag", truth, False, "switch"),
)


def resolved(flags=(), file=None):
    parser = argparse.ArgumentParser()
    add_flags(parser, SETTINGS, "kind")
    arguments = parser.parse_args(flags, argparse.Namespace(command="try"))
    return resolve(arguments, SETTINGS, file, "kind")[0]


def written(folder, text):
    (folder / "a.yaml").write_text(text)
    return folder / "a.yaml"


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = written(tmp_path, "command: try\ncutoff: 1e-3\nflag: yes\nfiles: x.xyz\nkind:\n")
    assert resolved() == {"kind": "a", "cutoff": 5.0, "files": None, "flag": False}
    assert resolved(file=file) == {"kind": "a", "cutoff": 1e-3, "files": tmp_path / "x.xyz", "flag": True}
    assert resolved(["--cutoff", "2", "--no-flag", "--kind", "b"], file) == {
        "kind": "b",
        "cutoff": 2.0,
        "files": tmp_path / "x.xyz",
        "only_b": 3,
        "flag": False,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cutof: 3\n", "Expected a known setting in FILE, got 'cutof': the closest one is 'cutoff'."),
        ("kin: b\n", "Expected a known setting in FILE, got 'kin': the closest one is 'kind'."),
        ("cutoff: five\n", "Expected cutoff in FILE as a number, got 'five'."),
        ("cutoff: true\n", "Expected cutoff in FILE as a number, got True."),
        ("cutoff: [1]\n", "Expected cutoff in FILE as a number, got [1]."),
        ("flag: 1\n", "Expected flag in FILE as true or false, got 1."),
        ("files: 3\n", "Expected files in FILE as a path, got 3."),
        ("kind: c\n", "Expected kind in FILE to be a or b, got 'c'."),
        ("kind: b\nonly_b: -1\n", "Expected only_b in FILE as a whole number from 0, got -1."),
        ("only_b: 1\n", "Expected settings that belong to kind a, got only_b, which belongs to b: leave it out."),
        ("command: fit\n", "Expected settings of ase-spinml try in FILE, got those of fit."),
        ("sha256: abc\n", "Expected sha256 in FILE as 'path: digest' lines, got 'abc'."),
        ("- a\n", "Expected settings as 'name: value' lines in FILE, got list."),
        ("", "Expected settings as 'name: value' lines in FILE, got NoneType."),
        ("a: [1\n", "Expected settings as YAML in FILE, line 2, got something else (expected ',' or ']', but got "),
        ("a: !!python/object/apply:os.getcwd []\n", "Expected settings as YAML in FILE, line 1, got something else"),
    ],
)
def test_errors_of_files(text, sentence, tmp_path):
    file = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        resolved(file=file)
    assert str(caught.value).startswith(sentence.replace("FILE", str(file)))


def test_wrong_flags_are_wrong_usage(capsys):
    for flags, words in (
        (["--cutoff", "five"], "expected a number, got 'five'"),
        (["--kind", "c"], "invalid choice: 'c'"),
        (["--only-b", "-1"], "expected a whole number from 0, got '-1'"),
    ):
        with pytest.raises(SystemExit) as caught:
            resolved(flags)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err


def test_a_record_does_the_same_again(tmp_path):
    data = tmp_path / "data.xyz"
    data.write_text("content")
    values = {"kind": "b", "cutoff": 1e-05, "files": data, "only_b": 7, "flag": True}
    content = record.record("try", values, record.check_unchanged([data], {}), tmp_path)
    assert content["sha256"] == {"data.xyz": record.sha256(data)}
    assert content["versions"]["ase_spinml"]
    record.write_record(tmp_path / "a.yaml", content)
    assert resolved(file=tmp_path / "a.yaml") == values
    assert record.same_record(tmp_path / "a.yaml", content)
    assert not record.same_record(tmp_path / "a.yaml", content | {"cutoff": 1.0})
    assert record.same_record(tmp_path / "a.yaml", content | {"cutoff": 1.0}, leave_out=["cutoff"])
    assert {item.name for item in tmp_path.iterdir()} == {"data.xyz", "a.yaml"}


def test_changed_files_are_noticed(tmp_path):
    data = tmp_path / "data.xyz"
    data.write_text("content")
    recorded = record.check_unchanged([data], {})
    data.write_text("other")
    with pytest.raises(InputError, match="as it was when the settings were written, got another content: remove its"):
        record.check_unchanged([data], recorded)


def test_results_are_not_replaced_by_others(tmp_path):
    result, file = tmp_path / "a.model", tmp_path / "a.model.yaml"
    content = {"command": "try", "versions": {}, "cutoff": 5.0}
    record.check_replaceable([result], file, content, force=False)
    result.write_text("")
    with pytest.raises(InputError, match="made with other settings: choose another, or --force replaces it"):
        record.check_replaceable([result], file, content, force=False)
    record.check_replaceable([result], file, content, force=True)
    record.write_record(file, content | {"versions": {"torch": "0"}})
    record.check_replaceable([result], file, content, force=False)
    with pytest.raises(InputError, match=r"Expected a folder for .*a.model, got .*no, which does not exist: make it"):
        record.check_outputs([tmp_path / "no" / "a.model"], [])
    with pytest.raises(InputError, match=r"Expected an output other than the input, got .*a.model for both"):
        record.check_outputs([result], [tmp_path / "." / "a.model"])


def test_defaults_are_those_of_the_classes():
    from ase_spinml import SOSO, SpinGAP, SpinNN

    for cls, settings in ((SOSO, DESCRIPTOR), (SpinGAP, SIGMAS + KERNEL), (SpinNN, SIGMAS + NETWORK)):
        parameters = inspect.signature(cls.__init__).parameters
        for setting in settings:
            default = parameters[setting.name].default
            if setting.name != "species":
                assert setting.default == (list(default) if isinstance(default, tuple) else default), setting.name
        ours = {setting.name for setting in settings}
        others = {"self", "descriptor", "rng", "baseline", "progress"}
        assert set(parameters) == ours | (others & set(parameters))


@pytest.mark.parametrize("setting", FIT + RUN, ids=lambda setting: setting.name)
def test_every_setting_can_be_told_and_shown(setting):
    assert setting.kind in EXPECTED
    assert setting.kind is truth or setting.choices or setting.kind in METAVAR


@pytest.mark.parametrize("command", ["demo", "fit", "evaluate", "run", "convert", "plot", "info"])
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert command == "demo" or f"\n  ase-spinml {command} " in printed
    if command in ("fit", "run"):
        assert "(default: " in printed


def test_help_is_quick():
    code = (
        "import sys\nfrom ase_spinml import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'matplotlib', 'scipy', 'sklearn', 'yaml') if name in sys.modules])"
    )
    for arguments in (["--help"], ["fit", "--help"], ["run", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_python_runs_the_package_as_the_command():
    done = subprocess.run([sys.executable, "-m", "ase_spinml", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("ase-spinml ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts(shell, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--print-completion", shell])
    assert caught.value.code == 0
    script = capsys.readouterr().out
    assert "ase-spinml" in script
    for name in ("evaluate", "sigma-field", "spin-lattice-dynamics"):
        assert name in script


def test_completion_in_bash_finishes_flags_and_files(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["--print-completion", "bash"])
    (tmp_path / "complete.sh").write_text(capsys.readouterr().out)
    ask = "source complete.sh; COMP_WORDS=(ase-spinml fit {0}); COMP_CWORD=2; COMP_LINE='ase-spinml fit {0}'; "
    ask += "COMP_POINT=${{#COMP_LINE}}; _shtab_ase_spinml; echo ${{COMPREPLY[@]}}"
    for start, found in (("--sigma-f", "--sigma-forces --sigma-field"), ("comp", "complete.sh")):
        done = subprocess.run(["bash", "-c", ask.format(start)], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.split() == found.split(), done.stderr


def test_completion_without_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--print-completion", "bash"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "ase-spinml: Expected shtab for --print-completion, found none: pip install shtab.\n"
    )


def test_pictures_without_matplotlib(monkeypatch, capsys, tmp_path):
    from ase_spinml.demo import load_frames
    from ase_spinml.io import write_frames

    write_frames(tmp_path / "a.xyz", load_frames()[:1])
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["plot", str(tmp_path / "a.xyz")]) == 1
    assert capsys.readouterr().err == "ase-spinml plot: Expected matplotlib, found none: pip install it.\n"


def test_every_record_is_plain_yaml(tmp_path):
    record.write_record(tmp_path / "a.yaml", {"command": "try", "hidden": [64, 64], "seed": 0})
    lines = (tmp_path / "a.yaml").read_text().splitlines()
    assert lines[0] == "# ase-spinml try a.yaml does the same again."
    assert yaml.safe_load("\n".join(lines)) == {"command": "try", "hidden": [64, 64], "seed": 0}
