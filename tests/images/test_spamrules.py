"""The policy's own rules for SpamAssassin: which ones it takes, and that none can keep a mail for ever."""

from collections.abc import Iterator

import pytest

from images.configuration import policy
from images.docker import Container, Lab
from images.gateway import AMAVIS, Gateway, started_gateway
from images.mails import GTUBE, mail


@pytest.fixture(scope="module")
def module_lab(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(images, network, tmp_path_factory.mktemp("spamrules"))


@pytest.fixture(scope="module")
def perl(module_lab: Lab) -> Iterator[Container]:
    """A container of the image that does nothing."""
    with module_lab.container("amavis", "infinity", user=AMAVIS, entrypoint="sleep") as container:
        yield container


@pytest.fixture(scope="module")
def gateway(module_lab: Lab) -> Iterator[Gateway]:
    with started_gateway(module_lab) as gateway:
        yield gateway


_PERL = ("perl", "-T", "-I/usr/share/mailfilter/perl", "-e")
_CHECK = r"""
use MailFilter::SpamRules;
local $/ = "\0";
while (defined(my $octets = <STDIN>)) {
  chomp $octets;
  print eval { MailFilter::SpamRules::check_rules($octets); 1 } ? 'accepted' : $@, "\0";
}
"""


def judged(perl: Container, *rules: str) -> list[str]:
    """What the image says to each text of rules."""
    done = perl.run(*_PERL, _CHECK, stdin=b"".join(text.encode() + b"\0" for text in rules))
    verdicts = [verdict.strip() for verdict in done.stdout.decode().split("\0")[:-1]]
    assert len(verdicts) == len(rules)
    return verdicts


GOOD = """\
body CHAINED /a(b)?c{2}/i # and a comment (
body HASH /\\#(b)/
uri SLASHES m{https?://x/}
header UNSET Subject =~ /\\bx\\b/i [if-unset: UNSET(]
header EXISTS exists:List-Id
header __ALL ALL =~ /^X-Y: ü/m
rawbody RAW /<script[^>]{0,100}>/i
full WHOLE /begin.{1,50}end/s
body WORDS /\\b(?:cheap|great)\\s+(?:pills|offers?)\\b.{0,40}\\bnow\\b/i
body HARMLESS /(a+)+$/
body HARMLESS_TOO /^(\\w+\\s?)*$/
body BRANCHES /(?:a|aa|ab?c)+z/
tflags WORDS multiple maxhits=3
describe WORDS not /(
meta ALL_OF_THEM (WORDS && RAW) || (WHOLE + UNSET > 1) || GTUBE || local_tests_only
meta GLOBBED rules_matching(__?LL) > 0
body CAPTURES /(?<NAMED>x+)/
header CAPTURED Subject =~ /%{NAMED}/
score GTUBE (-1)
score BAYES_99 0
"""

LEFT_OUT = {
    "body X /(never closed/": "invalid regexp",
    "header X Subject =~ /x(/i [if-unset: UNSET]": "invalid regexp",
    "header __X From:addr !~ /*/": "invalid regexp",
    "full X without delimiters": "invalid regexp",
    "uri X /x/zz": "invalid regexp",
    "header X Subject ~ /x/": "invalid head test",
    "header X Subject:nonsense =~ /x/": "invalid header modifier",
    "meta X A && (": "invalid expression",
    "meta X * GTUBE": "compilation failed",
    "meta X A && NO_SUCH_RULE": "there is no rule NO_SUCH_RULE",
    "meta X rules_matching(NO_SUCH_*)": "no rule matches NO_SUCH_*",
    "meta X Y\nmeta Y X": "unsolved",
    "score NO_SUCH_RULE 1": "there is no rule NO_SUCH_RULE",
    "tflags NO_SUCH_RULE nice": "there is no rule NO_SUCH_RULE",
    "body GTUBE /x/": "SpamAssassin has a rule GTUBE itself",
    "score X (-1)\nbody X /x/": "invalid 'score' value",
}

ENDLESS = [
    "header X Subject =~ /(a+)+\\1b/",
    "body X /^(a*)*\\1\\1b/",
    "rawbody X /^(?:a{1,9}b?){2,30}c/",
    "full X /Dear(?:[a-z]{1,9} ?){2,30}!/i",
    "uri X m{x*x*x*x*x*x*y}",
    "body X /(?:\\w*\\s*){3,40}=/",
]


def test_b53_good_rules_are_accepted(perl: Container) -> None:
    assert judged(perl, GOOD) == ["accepted"]


def test_what_spamassassin_would_leave_out_is_refused(perl: Container) -> None:
    verdicts = judged(perl, *(f"body A /x/\n# the third line:\n{rule}\n" for rule in LEFT_OUT))
    for (rule, reason), verdict in zip(LEFT_OUT.items(), verdicts, strict=True):
        assert verdict.startswith(("spec.spam.rules line 3: ", "spec.spam.rules line 4: ")), (rule, verdict)
        assert reason in verdict, rule


def test_a_pattern_that_would_go_on_for_ever_is_refused(perl: Container) -> None:
    verdicts = judged(perl, *(f"body A /x/\n{rule}\nscore X 1\n" for rule in ENDLESS))
    for rule, verdict in zip(ENDLESS, verdicts, strict=True):
        assert verdict.startswith("spec.spam.rules line 2: this pattern takes too long on some texts"), rule


def test_b53_a_rules_score_is_in_the_header(gateway: Gateway) -> None:
    gateway.set_policy(
        policy(
            spamRules="""
header OWN_HEADER Subject =~ /with %{WORD}/
body OWN_BODY /hello (?<WORD>\\w+)/
rawbody __OWN_RAW /hello/
full OWN_FULL /hello.{0,20}again/s
uri OWN_URI m{evil\\.example}
meta OWN_META __OWN_RAW && OWN_FULL && !OWN_URI && !OWN_NOT
body OWN_NOT /nowhere/
body OWN_OFTEN /l/
tflags OWN_OFTEN multiple
score OWN_HEADER 1.5
score OWN_BODY 0.25
score OWN_FULL 0.125
score OWN_META 2
score OWN_OFTEN 0.01
"""
        )
    )
    for number in range(3):
        gateway.send(mail(f"own rules {number} with score", "hello score\nagain\n"))
        gateway.idle()
    for number in range(3):
        (delivered,) = gateway.delivered(f"own rules {number}")
        status = delivered[delivered.index("X-Spam-Status: ") :]
        for test in ("OWN_HEADER=1.5", "OWN_BODY=0.25", "OWN_FULL=0.125", "OWN_META=2", "OWN_OFTEN=0.01"):
            assert test in status, (number, test)
        assert "OWN_URI" not in status
        assert "OWN_NOT" not in status


KINDS = {
    "header": "Subject =~ /all of our own words/",
    "body": "/words of our own/",
    "rawbody": "/our own words/",
    "uri": "m{words[.]test[.]com}",
    "full": "/words of our own.{1,50}test/s",
    "meta": "GTUBE && MISSING_MID",
}
HIT = f"our own words, words of our own\nhttp://words.test.com/\n{GTUBE}\n"


def hits(gateway: Gateway, subject: str) -> list[set[str]]:
    """The tests that hit such a mail, several times in each of amavis' processes."""
    found = []
    for number in range(8):
        message = mail(f"all of our own words {subject} {number}", HIT)
        del message["Message-ID"]
        gateway.send(message)
        found.append(set(gateway.report(str(message["Subject"]))["tests"]))
    # SpamAssassin's own still do.
    assert all({"GTUBE", "MISSING_MID"} <= tests for tests in found)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_rules_hit_whatever_kinds_of_rules_the_policy_before_had(gateway: Gateway, kind: str) -> None:
    rules = {one: f"{one} NEW_{one.upper()} {test}\nscore NEW_{one.upper()} 0.5\n" for one, test in KINDS.items()}
    gateway.set_policy(policy(spamRules="".join(rule for one, rule in rules.items() if one != kind)))
    wanted = {f"NEW_{one.upper()}" for one in KINDS}
    assert [tests & wanted for tests in hits(gateway, f"but {kind}")] == [wanted - {f"NEW_{kind.upper()}"}] * 8
    gateway.set_policy(policy(spamRules="".join(rules.values())))
    assert [tests & wanted for tests in hits(gateway, f"and {kind}")] == [wanted] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_is_no_longer_what_it_was_in_the_policy_before(gateway: Gateway, kind: str) -> None:
    gateway.set_policy(policy(spamRules="".join(f"{one} SAME_{one.upper()} {test}\n" for one, test in KINDS.items())))
    hits(gateway, f"was {kind}")
    never = {"header": "X-None =~ /./", "uri": "m{nowhere}", "meta": "GTUBE && !GTUBE"}
    # Under the name of each of the others, and one that never hits.
    rules = "".join(
        f"{kind} SAME_{one.upper()} {never.get(kind, '/nowhere at all/')}\n" for one in KINDS if one != kind
    )
    gateway.set_policy(policy(spamRules=f"{rules}body SURE /words/\n"))
    for tests in hits(gateway, f"is {kind}"):
        assert "SURE" in tests
        assert not {test for test in tests if test.startswith("SAME_")}


def test_a_refused_rule_leaves_the_last_good_ones(gateway: Gateway) -> None:
    gateway.set_policy(policy(spamRules="body GOOD_ONE /anything/\nscore GOOD_ONE 3\n"))
    gateway.send(mail("before the bad rule", "anything"))
    gateway.report("before the bad rule")
    gateway.set_policy(policy(spamRules="body GOOD_ONE /anything/\nbody BAD_ONE /(a+)+\\1b/\n"))
    for number in range(4):
        gateway.send(mail(f"under the bad rule {number}", "anything"))
    for number in range(4):
        assert "GOOD_ONE" in gateway.report(f"under the bad rule {number}")["tests"]
    refused = gateway.amavis.read("/run/amavis/policy.refused") or b""
    assert b"spec.spam.rules line 2: this pattern takes too long" in refused


def processes(gateway: Gateway) -> bytes:
    """amavis' processes."""
    return gateway.amavis.run("sh", "-c", "grep -l amavi /proc/[0-9]*/comm").stdout


def test_a_rule_that_hangs_on_a_mail_is_left_and_the_mail_goes_on(gateway: Gateway) -> None:
    gateway.set_policy(
        policy(
            spamRules="body SLOW /a*a*a*c/\nbody QUICK /hello/\nheader ALSO Subject =~ /slow/\n"
            "meta BOTH QUICK && ALSO && !SLOW\nscore QUICK 1\nscore ALSO 1\nscore BOTH 1\n"
        )
    )
    children = processes(gateway)
    gateway.send(mail("slow", f"hello\n\n{'a' * 1900}!c\n"))
    gateway.idle()
    (delivered,) = gateway.delivered("slow")
    for test in ("QUICK=1", "ALSO=1", "BOTH=1"):
        assert test in delivered
    report = gateway.report("slow")
    assert report["spam_rules_left"] == ["SLOW"]
    assert processes(gateway) == children
    gateway.send(mail("not slow", "hello aaac"))
    report = gateway.report("not slow")
    assert {"SLOW", "QUICK"} <= set(report["tests"])
    assert "spam_rules_left" not in report
