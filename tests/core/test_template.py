"""Templates of job files, as Go would render them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau.core import template
from bacalhau.core.template import parse_vars, render, select_env
from bacalhau.model.errors import Rejected

VARS = {"name": "World", "count": "3", "start-time": "noon", "empty": "", "q": 'say "hi"'}


def rejected(text):
    with pytest.raises(Rejected) as caught:
        render(text, VARS)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("plain { } }} text", "plain { } }} text"),
        ("Hello {{.name}}, {{ .name }}!", "Hello World, World!"),
        ("count: {{.count}}", "count: 3"),
        ('"COMMAND={{.q}}"', '"COMMAND=say "hi""'),
        ('{{or (index . "start-time") "dawn"}}', "noon"),
        ('{{or (index . "end-time") "dusk"}}', "dusk"),
        ('{{or (index . "end-time") ""}}', ""),
        ('{{index . "nothing"}}', ""),
        ('{{or .empty .name .missing}}', "World"),
        ('{{and .name .empty .missing}}', ""),
        ('{{and .name .count}}', "3"),
        ("{{`raw }} text`}}", "raw }} text"),
        (r'{{"tab\tquote\"\x41\u00e9\101"}}', 'tab\tquote"Aé' + "A"),
        ("{{not .empty}} {{not .name}}", "true false"),
        ('{{eq .name "World"}} {{eq .name "a" "World"}} {{ne .name "World"}}', "true true false"),
        ("{{len .name}} {{len .}}", "5 5"),
        ("{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 1 2}}", "truetruefalsefalse"),
        ('{{.name | printf "%s-%s" "a"}}', "a-World"),
        ('{{printf "%q %v %d %05d %x %t %%" .name .count 7 42 "hi" true}}',
         '"World" 3 7 00042 6869 true %'),
        ('{{printf "%-4s|%4s|%.2f" "a" "b" 1.5}}', "a   |   b|1.50"),
        ('{{print "a" 1 2 "b"}}', "a1 2b"),
        ('{{println "a" "b"}}', "a b\n"),
        ("{{if .name}}yes{{else}}no{{end}}", "yes"),
        ("{{if .empty}}yes{{else}}no{{end}}", "no"),
        ('{{if eq .count "1"}}one{{else if eq .count "3"}}three{{else}}many{{end}}', "three"),
        ("{{if .empty}}{{.missing}}{{end}}", ""),
        ("{{if true}}a{{if false}}b{{else}}c{{end}}d{{end}}", "acd"),
        ("{{with .name}}<{{.}} {{$.count}}>{{end}}", "<World 3>"),
        ('{{with index . "x"}}a{{else}}b{{end}}', "b"),
        ("a  {{- .count -}}  b", "a3b"),
        ("a\n{{- /* gone */ -}}\nb{{/* gone }} too */}}c", "abc"),
        ("{{ ( .name ) }}", "World"),
        ("{{1}} {{-5}} {{0x10}} {{1.0}} {{1.5}} {{true}}", "1 -5 16 1 1.5 true"),
        ("{{if .name}}\n  x: 1\n{{- end}}\n", "\n  x: 1\n"),
        ("${VAR} $(cmd) {nodeID} {{.name}}", "${VAR} $(cmd) {nodeID} World"),
    ],
)  # fmt: skip
def test_what_is_rendered(text, out):
    assert render(text, VARS) == out


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("\n{{.missing}}", "line 2: no variable 'missing'; give it with -V missing=VALUE"),
        ("{{source_directory}}", "unknown function 'source_directory'; known are: and, or"),
        ("{{.name", "'{{' without '}}'"),
        ("{{", "without '}}'"),
        ("{{}}", "without content"),
        ("{{.a.b}}", "have no fields"),
        ("{{ÿ}}", "unknown function"),
        ("{{'c'}}", "not understood"),
        ("{{.name 5}}", "takes no arguments"),
        ("{{.name | .count}}", "takes no arguments"),
        ("{{(.name}}", "')' is missing"),
        ("{{.name)}}", "unexpected ')'"),
        ("{{|}}", "'|' found"),
        ("{{or}}", "1 or more arguments wanted, 0 given"),
        ("{{not 1 2}}", "1 arguments wanted"),
        ("{{eq .name 1}}", "cannot compare a text with a whole number"),
        ("{{eq . .}}", "cannot compare"),
        ("{{lt true false}}", "no order"),
        ("{{len 1}}", "no length"),
        ("{{index .name 1}}", "cannot be indexed"),
        ("{{index . 1}}", "no name of a variable"),
        ("{{or len .name}}", "needs brackets"),
        ('{{printf "%d" "x"}}', "does not fit a text"),
        ('{{printf "%s"}}', "no value left"),
        ('{{printf "a" 1}}', "more than the format wants"),
        ('{{printf "%99999999d" 1}}', "wider than"),
        ("{{printf 1}}", "must be a text"),
        ('{{"\\z"}}', "unknown escape"),
        ('{{"\\UFFFFFFFF"}}', "unknown escape"),
        ("{{if .name}}x", "'if' without 'end'"),
        ("{{end}}", "without 'if'"),
        ("{{else}}", "without 'if'"),
        ("{{if .name}}a{{else}}b{{else}}c{{end}}", "'else' after 'else'"),
        ("{{if .name}}a{{else foo}}b{{end}}", "may follow 'else'"),
        ("{{if .name}}a{{end x}}", "nothing may follow"),
        ("{{if}}a{{end}}", "without content"),
        ("{{range .}}{{end}}", "'range' is not supported"),
        ("{{with .name}}{{.count}}{{end}}", "current value is a text"),
        ("{{if false}}{{nope}}{{end}}", "unknown function 'nope'"),
        ("{{if true}}" * 100, "nested more than 64"),
        ("{{" + "(" * 100 + "1" + ")" * 100 + "}}", "nested more than 64"),
    ],
)
def test_what_is_refused_with_its_line(text, part):
    assert part in rejected(text)


def test_the_output_is_bounded(monkeypatch):
    monkeypatch.setattr(template, "MAX_OUTPUT_CHARS", 10)
    assert "characters come out" in rejected("{{.name}}{{.name}}{{.name}}")


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["a=b"], {"a": "b"}),
        (["q=SELECT a, b FROM t"], {"q": "SELECT a, b FROM t"}),
        (['q="SELECT a, b"'], {"q": "SELECT a, b"}),
        (['"a=b"'], {"a": "b"}),
        (["x=abc=="], {"x": "abc=="}),
        (["a=1,b=2"], {"a": "1", "b": "2"}),
        (['"a=1,2","b=say ""x"""'], {"a": "1,2", "b": 'say "x"'}),
        (["a=1", "a=2"], {"a": "2"}),
        (["a="], {"a": ""}),
    ],
)
def test_variables_are_parsed_like_bacalhau_does(arguments, variables):
    assert parse_vars(arguments) == variables


@pytest.mark.parametrize("argument", ["a", "", "=b", 'a=1="x', "a=1=,b", 'x="a=b"', "a=1=\n"])
def test_broken_variables_are_rejected(argument):
    with pytest.raises(Rejected):
        parse_vars([argument])


def test_environment_variables_are_selected_by_pattern():
    environ = {"HOME": "/h", "HOMEBREW_PREFIX": "/b", "PATH": "p"}
    assert select_env("HOME", environ) == {"HOME": "/h", "HOMEBREW_PREFIX": "/b"}
    assert select_env("*", environ) == environ
    assert select_env("", environ) == {}
    with pytest.raises(Rejected):
        select_env("(", environ)


_piece = st.sampled_from(
    ["{{", "}}", "{{-", " -}}", "if", "else", "end", "with", ".name", ".", "$", "(", ")", "|",
     '"x"', "`", '"', "or", "index", "printf", "%d", "%s", " ", "\n", "1", "/*", "*/", "é", "\\"]
)  # fmt: skip


@given(st.lists(_piece | st.text(max_size=3), max_size=25).map("".join))
def test_any_text_is_rendered_or_rejected(text):
    try:
        render("{{" + text, VARS)
        render(text, VARS)
    except Rejected as error:
        assert error.message.startswith("template: ")  # noqa: PT017 (both ways are fine)


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_is_left_alone(text):
    assert render(text, VARS) == text


@given(st.text())
def test_any_value_is_inserted_as_it_is(value):
    assert render("<{{.x}}>", {"x": value}) == f"<{value}>"


@given(st.text(max_size=10), st.text(max_size=10))
def test_any_variable_is_parsed_or_rejected(key, value):
    try:
        parse_vars([f"{key}={value}"])
    except Rejected:
        return
