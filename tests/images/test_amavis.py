"""The amavis image by itself: what it starts with, and which policies it takes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from images.configuration import BANNED, POLICY, policy
from images.docker import Container, Lab, docker, eventually
from images.gateway import AMAVIS, am_pdp, amavis_ready, started_amavis
from support.fieldcases import ACCEPTED as FIELD_ACCEPTED
from support.fieldcases import REFUSED as FIELD_REFUSED

DECODERS = (
    "7z Z a arc arj bz2 cab cpio deb dmg exe gz img iso jar kmz lha lrz lz lz4 lzma lzo mail mslz qcow rar rpm "
    "squashfs swf tar tnef vdi vhd vmdk wim xar xz zip zst"
)


@pytest.fixture(scope="module")
def module_lab(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(images, network, tmp_path_factory.mktemp("amavis"))


@pytest.fixture(scope="module")
def perl(module_lab: Lab) -> Iterator[Container]:
    """A container of the image that does nothing."""
    with module_lab.container("amavis", "infinity", user=AMAVIS, entrypoint="sleep") as container:
        yield container


_PERL = ("perl", "-T", "-I/usr/share/mailfilter/perl", "-e")
_PARSE = r"""
use MailFilter::Policy;
local $/ = "\0";
while (defined(my $octets = <STDIN>)) {
  chomp $octets;
  print eval { MailFilter::Policy::parse($octets) } ? 'accepted' : $@, "\0";
}
"""


def judged(perl: Container, *documents: Any) -> list[str]:
    """What the image says to each policy."""
    texts = [d if isinstance(d, bytes) else json.dumps(d, ensure_ascii=False).encode() for d in documents]
    done = perl.run(*_PERL, _PARSE, stdin=b"".join(text + b"\0" for text in texts))
    assert not done.stderr, done.stderr
    verdicts = [verdict.strip() for verdict in done.stdout.decode().split("\0")[:-1]]
    assert len(verdicts) == len(documents)
    return verdicts


def changed(path: str, value: Any) -> dict[str, Any]:
    """The policy with the value at `a.b.c` replaced."""
    document = policy()
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    return document


def test_policy_of_the_contract_is_accepted(perl: Container) -> None:
    assert judged(perl, POLICY) == ["accepted"]


_RECIPIENTS_DIGEST = {
    "enabled": True,
    "at": "07:00",
    "timeZone": "America/Argentina/Buenos_Aires",
    "kinds": ["spam", "banned", "bad-header"],
    "contact": None,
    "fromAddress": "a$b@x.example",
    "fromName": "Grüße $1 @x",
}
DIGEST = {
    "hostname": "mx.example.com",
    "suspended": False,
    "template": "Subject: x\n",
    "settings": {"default": _RECIPIENTS_DIGEST, "by": {"example.com": _RECIPIENTS_DIGEST | {"enabled": False}}},
}
ACCEPTED: list[tuple[str, Any]] = [
    ("levels.tag.default", -100),
    ("senders.default.scores", [{"senderRegexp": one, "score": 1} for one in FIELD_ACCEPTED["SenderRegexp"]]),
    ("levels.kill.by", {"lenient@example.com": 2000, ".example.com": 6.31, "o'brien@x.example": 1}),
    (
        "senders.default.allow",
        ["", "a$b@x.example", "a|b&c@x.example", 'a\\b"@x.example', "o'brien@x.example", ".", ".x.example"],
    ),
    ("subjectTag.default", "***SPAM*** $1 @x ${y} `id` Grüße"),
    ("subjectTag.by", {"bob@example.com": "$1", ".example.org": ""}),
    ("spamEnabled.by", {"bob+tag@example.com": False}),
    ("destiny.virus.by", {"example.com": "Pass"}),
    ("banned.by", {"example.com": BANNED | {"names": []}}),
    ("notifications.headerFrom", 'Filter "A" <x@y.example>'),
    ("notifications.virusAdmin", "admins@onelab.example"),
    ("banned.default.names", ["*.{exe}", "a(b", "ü?.*", "$(id)", "[", "\\"]),
    ("spamRules", "header X Subject =~ /ü/\nscore X 1\n"),
    ("spamBodySizeLimit", None),
    ("decoding.maxExpandedBytes", 10737418240),
    ("encryptedArchives", "Quarantine"),
    ("localDomains", []),
    ("digest", DIGEST),
    ("digest", DIGEST | {"template": "Subject: $count\r\n\r\n@x `id` ${y}\tGrüße\n"}),
    ("signing", {".example.com": [{"domain": "example.com", "selector": "s1.mail-2"}], "example.org": []}),
]


def test_b32_special_characters_are_only_characters(perl: Container) -> None:
    verdicts = judged(perl, *(changed(path, value) for path, value in ACCEPTED))
    assert dict(zip(map(str, ACCEPTED), verdicts, strict=True)) == dict.fromkeys(map(str, ACCEPTED), "accepted")


REFUSED: list[tuple[str, Any]] = [
    ("digest", {}),
    ("digest", DIGEST | {"template": "a\x00b"}),
    ("digest", DIGEST | {"suspended": "None"}),
    ("digest", DIGEST | {"settings": _RECIPIENTS_DIGEST}),
    *(
        ("digest", DIGEST | {"settings": {"default": _RECIPIENTS_DIGEST | {part: value}, "by": {}}})
        for part, value in (("at", "7"), ("timeZone", "../x y"), ("kinds", ["virus"]), ("fromName", "a\nBcc: b"))
    ),
    ("version", 1),
    ("levels.kill.default", "5"),
    ("levels.kill.default", "5; system('id')"),
    ("levels.kill.default", None),
    ("levels.kill.default", True),
    ("levels.kill.default", 1e300),
    ("levels.kill.by", []),
    ("levels.kill.by", {"a\nb": 1}),
    ("levels.kill.unknown", 1),
    ("spamEnabled", True),
    ("spamEnabled.default", 1),
    ("spamEnabled.by", {"example.com": "true"}),
    ("spamBodySizeLimit", 1.5),
    ("spamBodySizeLimit", -1),
    ("subjectTag.default", "***SPAM***\nBcc: x@y.example"),
    ("subjectTag.default", None),
    ("subjectTag.by", {"example.com": None}),
    ("subjectTag.by", {"example.com": ["x"]}),
    ("spamRules", "a\x00b"),
    ("destiny.virus.default", "Bounce"),
    ("destiny.virus.by", {"example.com": "D_PASS"}),
    ("destiny.extra", "Pass"),
    ("banned.default.types", ["exe|.*"]),
    ("banned.default.mimeTypes", ["application"]),
    ("banned.default.names", [3]),
    ("banned.by", {"example.com": {"names": ["*.exe"]}}),
    ("senders.default.allow", ["a\nb"]),
    ("senders.default.allow", ["ü@x.example"]),
    ("senders.default.deny", [None]),
    ("senders.default.deny", {"a": 1}),
    ("senders.default.scores", [{"score": 1}]),
    ("senders.default.scores", [{"sender": "a@x.example", "score": "1"}]),
    *(("senders.default.scores", [{"senderRegexp": one, "score": 1}]) for one in FIELD_REFUSED["SenderRegexp"]),
    ("notifications.mailFrom", "a b@x.example"),
    ("notifications.mailFrom", "a@x.example\n"),
    ("notifications.headerFrom", "A <a@x.example>\r\nX: y"),
    ("code", "1"),
    ("virusEnabled", 0),
    ("encryptedArchives", "Discard"),
    ("decoding.maxLevels", "14; system('id')"),
    ("decoding.maxFiles", None),
    ("quarantine.virus", "local:/etc"),
    ("logLevel", -1),
    ("signing", []),
    ("signing", {"example.com": [{"domain": "example.com"}]}),
    *(
        ("signing", {"example.com": [{"domain": "example.com", "selector": "s1"} | {part: text}]})
        for part in ("domain", "selector")
        for text in ("..", "../../etc", "a/b", "", ".a", "a.", "A", "a\n", None)
    ),
]


def test_what_is_not_a_policy_is_refused(perl: Container) -> None:
    verdicts = judged(perl, *(changed(path, value) for path, value in REFUSED))
    for case, verdict in zip(REFUSED, verdicts, strict=True):
        assert verdict.startswith(("policy", "a key of policy")), case
        assert "system" not in verdict, "the reason repeats a value"


def test_a_missing_key_is_refused(perl: Container) -> None:
    keys = sorted(POLICY)
    verdicts = judged(perl, *({k: v for k, v in POLICY.items() if k != key} for key in keys))
    assert verdicts == [f"policy: the key {key} is missing" for key in keys]


def test_what_is_not_an_object_is_refused(perl: Container) -> None:
    octets = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"version": 1} x', b"5; system('id')")
    assert set(judged(perl, *octets)) == {"not a JSON document", "policy: an object expected"}


_BANNED = r"""
use MailFilter::Policy; use Cpanel::JSON::XS;
local $/ = undef;
my $asked = Cpanel::JSON::XS->new->utf8->decode(scalar <STDIN>);
my $rules = MailFilter::Policy::banned_rules($asked->{banned});
print join ' ', map { scalar($rules->lookup_re($_)) // 'none' } @{ $asked->{parts} };
"""


PARTS: list[tuple[list[str], str]] = [
    (["application/zip", ".zip", "a.zip", "tool.exe"], "1"),
    (["TOOL.EXE"], "1"),
    (["tool.exe. . "], "1"),
    (["tool.exe.txt"], "none"),
    ([".exe"], "none"),  # the file type of a Unix program, too
    ([".exe", ".exe-ms"], "1"),
    ([".exe-ms2"], "none"),
    (["application/X-MSDownload"], "1"),
    (["application/x-msdownload2"], "none"),
    ([".tar", "x.tar", "tool.exe"], "0"),
    ([".tar", "x.tar", "tool.exe", ".exe-ms"], "1"),
    (["x\ny.exe"], "1"),
    (["invoice.pdf.cmd"], "1"),
    (["invoice.PDF .  COM. "], "1"),
    (["archive.2024.com"], "none"),
    (["tool.cmd"], "none"),
    (["report.pdf"], "none"),
]


def test_banned_rules_decide_in_the_order_types_allowed_names(perl: Container) -> None:
    asked = json.dumps({"banned": BANNED, "parts": [part for part, _ in PARTS]}).encode()
    verdicts = perl.run(*_PERL, _BANNED, stdin=asked).stdout.decode().split()
    assert list(zip([part for part, _ in PARTS], verdicts, strict=True)) == PARTS


_REPORT = r"""
use MailFilter::Reports; use Socket;
my $long = ['x' x 300_000];
my @reports = ({ type => 'amavis', recipients => ['bob'] }, { type => 'amavis', recipients => $long, rcpt_to => [] });
no warnings 'redefine';
*Amavis::structured_report = sub { shift @reports };
MailFilter::Reports::send_report('nobody listens');
socket(my $listener, AF_UNIX, SOCK_DGRAM, 0) or die;
bind($listener, pack_sockaddr_un('/run/amavis/report.sock')) or die $!;
for (1, 2) {
  MailFilter::Reports::send_report('a mail');
  recv($listener, my $datagram, 1_000_000, 0);
  print "$datagram\n";
}
MailFilter::Reports::send_report('a mail') for @reports = map { { number => $_ } } 1 .. 20;
print "goes on\n";
"""


def test_reports_go_to_whoever_listens_and_give_up_on_who_hangs(module_lab: Lab) -> None:
    run = {"/run/amavis": module_lab.volume()}
    with module_lab.container("amavis", "infinity", user=AMAVIS, entrypoint="sleep", volumes=run) as perl:
        lines = perl.run(*_PERL, _REPORT).stdout.decode().splitlines()
    assert [json.loads(line) for line in lines[:2]] == [{"type": "amavis", "recipients": ["bob"]}, {"type": "amavis"}]
    assert lines[2] == "goes on"


def test_all_decoders_are_found_and_rules_are_compiled(lab: Lab) -> None:
    policy_map = lab.config_map({"policy.json": json.dumps(policy(logLevel=2))})
    with started_amavis(lab, policy_map, lab.volume(), lab.volume()) as amavis:
        amavis_ready(amavis)
        found = set(re.findall(r"(?:Found decoder|Internal decoder) for +\.(\S+)", amavis.log))
        assert " ".join(sorted(found)) == DECODERS
        assert not re.search(r"No (?:decoder|ext program) for.*", amavis.log)
        assert re.search(r"able to use (\d+)/\1 'body_0' compiled rules", amavis.log)
        assert re.search(r"Using primary internal av scanner code for clamd", amavis.log)
        assert "experimental" not in amavis.log
        assert amavis.run("cat", "/proc/1/comm").stdout.startswith(b"/usr/sbin/amavi")


def test_b30_without_updated_rules_spamassassin_has_those_of_its_package(lab: Lab) -> None:
    policy_map = lab.config_map({"policy.json": json.dumps(policy(spamRules="meta X GTUBE || BAYES_99\n"))})
    empty = {"/var/lib/spamassassin": lab.volume()}
    with started_amavis(lab, policy_map, lab.volume(), lab.volume(), empty) as amavis:
        amavis_ready(amavis)
        assert amavis.read("/run/amavis/policy.refused") is None


def test_restart_with_a_refused_policy_uses_the_last_good_one(lab: Lab) -> None:
    policy_map = lab.config_map({"policy.json": json.dumps(POLICY)})
    with started_amavis(lab, policy_map, lab.volume(), lab.volume()) as amavis:
        amavis_ready(amavis)
        policy_map.write({"policy.json": "{}"})
        amavis.stop()
        amavis.start()
        amavis_ready(amavis)
        assert amavis.read("/run/amavis/policy.good") == json.dumps(POLICY).encode()
        assert json.loads(amavis.read("/run/amavis/policy.refused") or b"")["reason"].startswith("policy: the key")


def test_without_any_policy_it_does_not_start(lab: Lab) -> None:
    with started_amavis(lab, lab.config_map({"policy.json": "{}"}), lab.volume(), lab.volume()) as amavis:
        assert eventually(lambda: amavis.exit_code, "it ends")
        assert "no policy was ever accepted" in amavis.log


def test_with_a_quarantine_that_is_not_writable_it_does_not_start(lab: Lab) -> None:
    quarantine = lab.volume()
    quarantine.chmod(0o755)
    policy_map = lab.config_map({"policy.json": json.dumps(POLICY)})
    with started_amavis(lab, policy_map, quarantine, lab.volume()) as amavis:
        assert eventually(lambda: amavis.exit_code, "it ends")
        assert "the quarantine is not writable" in amavis.log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMAVIS_HOSTNAME", "mx.example.com'; system('id'); '"),
        ("AMAVIS_MAILFILTER", "mail/mx\nEOF\nid"),
        ("AMAVIS_CLAMD", "clamd"),
        ("AMAVIS_RELEASE_TO", "a:b:c"),
        ("AMAVIS_CHILD_TIMEOUT", ""),
        ("AMAVIS_OUTGOING", "yes"),
    ],
)
def test_a_malformed_environment_is_refused(module_lab: Lab, name: str, value: str) -> None:
    policy_map = module_lab.config_map({"policy.json": json.dumps(POLICY)})
    volumes = (module_lab.volume(), module_lab.volume())
    with started_amavis(module_lab, policy_map, *volumes, **{name: value}) as amavis:
        assert eventually(lambda: amavis.exit_code, "it ends")
        assert f"the environment variable {name} is malformed" in amavis.log


def test_b27_stale_pid_and_socket_do_not_keep_it_from_starting(lab: Lab) -> None:
    run = lab.volume()
    for name in ("amavisd.pid", "amavisd.sock", "amavisd.lock"):
        (run / name).write_text("1\n")
        (run / name).chmod(0o666)
    policy_map = lab.config_map({"policy.json": json.dumps(POLICY)})
    with started_amavis(lab, policy_map, lab.volume(), run) as amavis:
        amavis_ready(amavis)


def test_an_idle_amavis_can_be_made_to_look_at_the_policy(lab: Lab) -> None:
    policy_map = lab.config_map({"policy.json": json.dumps(POLICY)})
    with started_amavis(lab, policy_map, lab.volume(), lab.volume()) as amavis:
        amavis_ready(amavis)
        wanted = json.dumps(policy(spamRules="body X /x/\n"))
        policy_map.write({"policy.json": wanted})
        assert am_pdp(amavis, ["request=smtpd_access_policy"]) == ["DUNNO"]
        assert amavis.read("/run/amavis/policy.good") == wanted.encode()
        (rules,) = [name for name in amavis.list("/run/amavis/rules") if name != "lock"]
        assert amavis.read(f"/run/amavis/rules/{rules}") == b"body X /x/\n\npriority X 1\n"


def test_debians_own_configuration_is_not_there(perl: Container) -> None:
    """b18."""
    assert perl.run("test", "-e", "/etc/amavis/conf.d", check=False).returncode
    assert perl.run("test", "-e", "/usr/share/amavis/conf.d", check=False).returncode


def test_no_build_tool_is_left_inside(perl: Container) -> None:
    done = perl.run("sh", "-c", "command -v gcc cc make as ld re2c; true")
    assert done.stdout == b""


def test_labels_name_the_versions(images: dict[str, str]) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", images["amavis"]).stdout)
    assert labels["org.opencontainers.image.title"] == "mailfilter-amavis"
    assert ":2.13" in labels["dev.mailfilter.package.amavisd-new"]
