"""Extra SpamAssassin rules: those that may go live, and those that would run code, read files or change more."""

import pytest

from mailfilter.policy.amavis import policy
from mailfilter.policy.spamrules import bad_rules
from support.samples import spec

GOOD = [
    "",
    "   ",
    "# a comment, even with eval: and loadplugin",
    "header MY_H Subject =~ /\\bviagra\\b/i",
    "header MY_H exists:X-Mailer",
    "header __H ALL =~ /x/ [if-unset: none]",
    "header MY_H From:addr !~ /@example\\.com$/",
    "header MY_H Subject =~ /primeval: retrieval:/",
    "body MY_B /(?i)(?:pills|\\(\\s*\\{)/",
    "body MY_B /(?<NAME>x){2,5}[(*]{2}/",
    "body MY_B /\\p{L}\\p{IsAlpha}/",
    "body MY_B m{eval: is a word}",
    "body\tMY_B\t/tabs/",
    "  body MY_B /indented/  ",
    "rawbody MY_R /<script/i",
    "uri MY_U m{^https?://evil\\.example/}",
    "full MY_F /x/",
    "body MY_B /x/ # with a comment",
    "body MY_B /\\#1/",
    "body MY_B /ä/",
    "meta MY_M (MY_H && !MY_B) || (MY_R + MY_U > 1)",
    "meta MY_M rules_matching(BAYES_*) ? 1 : 0",
    "meta MY_M 0",
    "score MY_H 3.0",
    "score GTUBE 0",
    "score MY_H 0 -1 2.5 3",
    "score MY_H (-0.5)",
    "describe MY_H Finds eval: (?{ in a text",
    "tflags MY_H net nice noautolearn multiple maxhits=3",
    "body MY_B /x/\r",
]

BAD = [
    # Code.
    ("header X eval:check_rbl('set', 'zone')", "eval:"),
    ("header X rbleval:check_rbl('set', 'zone')", "eval:"),
    ("header X   eval :foo()", "eval:"),
    ("header X EVAL:foo()", "eval:"),
    ("body X eval:check_for_x()", "eval:"),
    ("rawbody X eval:check_for_x()", "eval:"),
    ("full X eval:check_for_x()", "eval:"),
    ("body X /(?{ system('id') })/", "code"),
    ("body X /(??{ 'x' })/", "code"),
    ("body X /(*{ 1 })/", "code"),
    ("body X /(**{ 1 })/", "code"),
    ("body X /( ?{ 1 })/x", "code"),
    ("header X Subject =~ /a(?{`id`})/", "code"),
    ("uri X m{(?{1})}", "code"),
    ("full X /(?{1})/", "code"),
    ("rawbody X /(?{1})/", "code"),
    ("body X /\\p{main::IsMine}/", "code"),
    ("body X /\\P{main'IsMine}/", "code"),
    ("meta X `id`", "meta"),
    ("meta X system('id')", "meta"),
    ('meta X "a"', "meta"),
    ("meta X $ENV{PATH}", "meta"),
    ("meta X 1; 2", "meta"),
    ("meta X @{[1]}", "meta"),
    # Directives that load, read, write, or change what is judged.
    *(
        (line, "must begin with")
        for line in (
            "loadplugin Mail::SpamAssassin::Plugin::X /tmp/x.pm",
            "tryplugin X",
            "include /etc/passwd",
            "ifplugin X",
            "if (version > 1)",
            "else",
            "endif",
            "file start x",
            "lang de describe MY_H x",
            "shortcircuit X on",
            "priority X 1",
            "test X ok x",
            "redirector_pattern /x/",
            "replace_rules X",
            "askdns X x A /y/",
            "urirhssub X y A 1",
            "mimeheader X Y =~ /z/",
            "welcomelist_from *",
            "whitelist_from *",
            "required_score 1000",
            "use_bayes 0",
            "dns_server 10.0.0.1",
            "bayes_path /tmp/x",
            "user_scores_dsn x",
            "report_safe 1",
            "clear_headers",
            "add_header all X y",
            "require_version 9",
            "def__rule X",
            "Body X /x/",
            "BODY X /x/",
            "b-ody X /x/",
            "body",
            "score",
            "\ufeffbody X /x/",
            "\u2028body X /x/",
            "\u00a0body X /x/",
            "body\u00a0X /x/",
            "body\u2003X /x/",
            "\\",
            ";body X /x/",
        )
    ),
    # Names.
    ("body X-Y /x/", "not a rule name"),
    ("body 1X /x/", "not a rule name"),
    ("body X::Y /x/", "not a rule name"),
    ("body ä /x/", "not a rule name"),
    (f"body {'X' * 41} /x/", "not a rule name"),
    ("score * 0", "not a rule name"),
    # What SpamAssassin would ignore without a word.
    ("body X", "nothing after"),
    ("body X # /x/", "nothing after"),
    ("body # X /x/", "must begin with"),
    ("score X much", "score"),
    ("score X 1 2", "score"),
    ("score X .5", "score"),
    ("score X 1e9", "score"),
    ("score X nan", "score"),
    ("score X ١", "score"),
    # Lines in lines.
    *((f"body X /x/{character}loadplugin Y", "control character") for character in "\r\v\f\0\x1c\x1d\x1e\x85\x7f"),
    ("# a comment\rloadplugin Y", "control character"),
    ("\x0bbody X /x/", "control character"),
    ("body X /x/\r\r", "control character"),
]


@pytest.mark.parametrize("line", GOOD)
def test_accepted(line: str) -> None:
    assert bad_rules(line) == []


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_refused(line: str, reason: str) -> None:
    (found,) = bad_rules(line)
    assert reason in found.reason


def test_each_bad_line_is_named() -> None:
    found = bad_rules("body A /x/\nloadplugin X\n\n# fine\ninclude /etc/passwd\r\nscore A 1\n")
    assert [bad.line for bad in found] == [2, 5]
    assert str(found[0]).startswith("spec.spam.rules line 2: must begin with one of header, body")


def test_lines_may_end_as_on_windows() -> None:
    rules = "body A /x/\r\nscore A 1\r\n"
    assert bad_rules(rules) == []
    assert policy(spec(spam={"rules": rules}))["spamRules"] == "body A /x/\nscore A 1\n"


def test_a_rule_is_defined_once() -> None:
    found = bad_rules("body A /x/\nscore A 1\nscore A 2\n header A Subject =~ /x/\nbody AA /x/\nmeta A AA\n# body AA")
    assert [(bad.line, bad.reason) for bad in found] == [
        (number, "A is defined in line 1 already, which would be without effect") for number in (4, 6)
    ]


def test_no_line_continues_on_the_next() -> None:
    assert [bad.line for bad in bad_rules("body A /x/ \\\nloadplugin X")] == [2]
    assert [bad.line for bad in bad_rules("describe A x\\\n eval:foo()")] == [2]


@pytest.mark.parametrize("comment", ["body A /x/ # (?{ 1 })", "header A Subject =~ /x/ # eval:"])
def test_comments_are_not_code(comment: str) -> None:
    assert bad_rules(comment) == []


def test_an_escaped_hash_does_not_hide_code() -> None:
    (found,) = bad_rules("body A /\\#(?{ 1 })/")
    assert "code" in found.reason
