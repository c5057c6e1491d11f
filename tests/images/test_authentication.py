"""DKIM, SPF and DMARC on the real chain, asked from a DNS server of the tests."""

import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

import pytest

from images.configuration import OUTGOING, SINK_PORT, policy, setting
from images.conftest import MODES
from images.docker import Container, Lab
from images.gateway import Gateway, started_dns, started_gateway
from images.pod import Client

HOST = "mx.filter.example"
NAMED, NAMED6, UNNAMED, HIDDEN = "203.0.113.7", "2001:db8::7", "203.0.113.8", "10.1.2.3"
"""Clients: in the SPF record of strict.test.com, not in it, behind a load balancer that hides it."""
LISTS = {
    "refused.com.multi.uribl.com": "127.0.0.1",
    "refused.com.multi.surbl.org": "127.0.0.1",
    "refused.com.dbl.spamhaus.org": "127.255.255.254",
    "50.113.0.203.zen.spamhaus.org": "127.255.255.254",
    "50.113.0.203.list.dnswl.org": "127.0.0.255",
    # A test of any answer.
    "50.113.0.203.psbl.surriel.com": "127.255.255.254",
    "50.113.0.203.bl.score.senderscore.com": "127.255.255.255",
    "50.113.0.203.sa-trusted.bondedsender.org": "127.255.255.255",
    "50.113.0.203.sa-accredit.habeas.com": "127.255.255.255",
    # Tests of single bits.
    "bits.com.multi.uribl.com": "127.255.255.254",
    "bits.com.multi.surbl.org": "127.255.255.254",
    "listed.com.multi.uribl.com": "127.0.0.2",
}

_KEY = r"""
my $key = Crypt::OpenSSL::RSA->generate_key(2048);
my @pem = map { s/^-.*$//mgr =~ s/\s//gr } $key->get_private_key_string, $key->get_public_key_x509_string;
print join ' ', @pem;
"""
_SIGN = r"""
use Mail::DKIM::Signer; use Mail::DKIM::PrivateKey;
local $/; my ($key, $mail) = split /\0/, <STDIN>, 2;
my $signer = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => $ENV{CANON}, Domain => $ENV{DOMAIN},
  Selector => 'sel', Key => Mail::DKIM::PrivateKey->load(Data => $key));
$signer->PRINT($mail); $signer->CLOSE; print $signer->signature->as_string, "\015\012", $mail;
"""
_VERIFY = r"""
use MailFilter::Dns; use Mail::DKIM::Verifier;
MailFilter::Dns::install($ENV{AMAVIS_DNS_SERVERS}); MailFilter::Dns::start_mail();
local $/; my $verifier = Mail::DKIM::Verifier->new;
$verifier->PRINT(scalar <STDIN>); $verifier->CLOSE; print $verifier->result_detail;
"""

# Tests that tell of refusals and have a score that could count.
_COUNTED = r"""
use Mail::SpamAssassin;
my $scanner = Mail::SpamAssassin->new({
  dont_copy_prefs => 1, userprefs_filename => '/nonexistent', home_dir_for_helpers => '/tmp' });
$scanner->init;
my $scores = $scanner->{conf}{scores};
print map { "$_\n" } grep { /\A[^_].*BLOCKED/ && abs $scores->{$_} > 1e-5 } keys %$scores;
"""


@dataclass
class Authenticated:
    """A chain, its DNS server and the key of signed.test.com."""

    gateway: Gateway
    dns: Container
    key: str

    def send(self, raw: bytes, client: str, *, sender: str, helo: str = "mail.strict.test.com") -> tuple[int, bytes]:
        with Client(self.gateway.postfix.address, 2525, client) as smtp:
            smtp.ehlo(helo)
            smtp.mail(sender, ["BODY=8BITMIME"])
            smtp.rcpt("bob@example.com")
            return smtp.data(raw)

    def judged(self, subject: str, client: str, **options: str) -> set[str]:
        """The tests of authentication that matched a mail of strict.test.com."""
        raw = letter(subject, "alice@strict.test.com", options.pop("extra", ""), options.pop("body", "Hello.\r\n"))
        self.send(raw, client, sender="alice@strict.test.com", **options)
        report = self.gateway.report(subject)
        assert report["client_ip"] == client
        return {test for test in report["tests"] if test.startswith(("SPF_", "DMARC_"))}

    def signed(self, raw: bytes, domain: str = "signed.test.com", method: str = "simple/simple") -> bytes:
        env = ("env", f"DOMAIN={domain}", f"CANON={method}")
        return self.gateway.amavis.run(*env, "perl", "-e", _SIGN, stdin=self.key.encode() + b"\0" + raw).stdout

    def verified(self, raw: bytes) -> str:
        perl = ("perl", "-I/usr/share/mailfilter/perl", "-e", _VERIFY)
        return self.gateway.amavis.run(*perl, stdin=raw).stdout.decode()


def letter(subject: str, author: str, extra: str = "", body: str = "Hello.\r\n") -> bytes:
    message_id = f"{subject.replace(' ', '.')}@client.example"
    head = (
        f"From: {author}\r\nTo: bob@example.com\r\nSubject: {subject}\r\nDate: {formatdate()}\r\n"
        f"Message-ID: <{message_id}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n"
    )
    return f"{extra}{head}\r\n{body}".encode()


@pytest.fixture(scope="module", params=MODES)
def mode(
    request: pytest.FixtureRequest, images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Authenticated]:
    lab = Lab(images, network, tmp_path_factory.mktemp(request.param))
    with lab.container("amavis", "infinity", entrypoint="sleep") as perl:
        private, public = perl.run("perl", "-MCrypt::OpenSSL::RSA", "-e", _KEY).stdout.decode().split()
    zone = (
        f"sel._domainkey.signed.test.com=TXT:v=DKIM1; k=rsa; p={public}",
        "signed.test.com=192.0.2.10",
        "_dmarc.signed.test.com=TXT:v=DMARC1; p=reject",
        "strict.test.com=192.0.2.10",
        f"strict.test.com=TXT:v=spf1 ip4:{NAMED} ip6:{NAMED6} -all",
        f"mail.strict.test.com=TXT:v=spf1 ip4:{NAMED} ip6:{NAMED6} -all",
        "_dmarc.strict.test.com=TXT:v=DMARC1; p=reject",
        "silent.com=silent",
        *(f"{name}={address}" for name, address in LISTS.items()),
    )
    with started_dns(lab, *zone) as dns:
        env = {"AMAVIS_LOCAL_TESTS_ONLY": "0", "AMAVIS_DNS_SERVERS": dns.address, "AMAVIS_HOSTNAME": HOST}
        way_out = {"outgoing_networks": "203.0.113.0/24\tpermit\n", "outgoing_senders": "strict.test.com\tpermit\n"}
        parameters = (
            OUTGOING
            | MODES[request.param]
            | {
                "mailfilter_upstream_proxy": "haproxy",
                "default_transport": f"smarthost:[sink]:{SINK_PORT}",
                # Clients of the way out say their address by XCLIENT.
                "smtpd_authorized_xclient_hosts": "172.16.0.0/12",
            }
        )
        env["AMAVIS_OUTGOING"] = "1"
        with started_gateway(lab, env, more_tables=way_out, **parameters) as gateway:
            yield Authenticated(gateway, dns, private)


LEVELS = {"tag": setting(-100), "tag2": setting(900), "kill": setting(1000), "cutoff": setting(1000)}


@pytest.fixture
def chain(mode: Authenticated) -> Iterator[Authenticated]:
    mode.gateway.set_policy(policy(levels=LEVELS))
    yield mode
    mode.gateway.idle()


def results(mail: str) -> list[str]:
    """All Authentication-Results of a mail, unfolded."""
    head = re.sub(r"\n[ \t]+", " ", mail.partition("\n\n")[0])
    return re.findall(r"^Authentication-Results: (.*)$", head, re.MULTILINE)


def test_outgoing_mail_is_not_measured_by_the_records_of_its_own_domain(chain: Authenticated) -> None:
    """SPF names the gateway, not the server behind it, and the signature is yet to be made."""
    with smtplib.SMTP(chain.gateway.postfix.address, 2587, timeout=30) as client:
        client.ehlo()
        assert client.docmd(f"XCLIENT ADDR={UNNAMED}")[0] == 220
        client.ehlo("server.strict.test.com")
        client.sendmail("alice@strict.test.com", ["bob@example.com"], letter("way out", "alice@strict.test.com"))
    report = chain.gateway.report("way out")
    assert report["client_ip"] == UNNAMED
    assert not [test for test in report["tests"] if test.startswith(("SPF_", "DMARC_", "RCVD_IN_"))]
    chain.gateway.idle()
    (delivered,) = chain.gateway.delivered("way out")
    assert not results(delivered)


PASS, FAIL = {"SPF_PASS", "SPF_HELO_PASS", "DMARC_PASS"}, {"SPF_FAIL", "SPF_HELO_FAIL", "DMARC_REJECT"}


def test_spf_and_dmarc_are_judged_by_the_clients_address(chain: Authenticated) -> None:
    assert chain.judged("named client", NAMED) == PASS
    assert chain.judged("named client 6", NAMED6) == PASS
    assert chain.judged("unnamed client", UNNAMED) == FAIL


def test_what_the_sender_wrote_below_our_received_field_is_not_believed(chain: Authenticated) -> None:
    forged = (
        f"Received: from mail.strict.test.com (mail.strict.test.com [{NAMED}])\r\n"
        f"\tby {HOST} (Postfix) with ESMTPS id 4Zz1\r\n\tfor <bob@example.com>; {formatdate()}\r\n"
        f"Received-SPF: pass client-ip={NAMED}; envelope-from=alice@strict.test.com; identity=mailfrom\r\n"
    )
    assert chain.judged("forged fields", UNNAMED, extra=forged) == FAIL
    assert chain.judged("forged helo", UNNAMED, helo=f"[{NAMED}]") == FAIL - {"SPF_HELO_FAIL"}
    assert chain.judged("forged and hidden", HIDDEN, extra=forged) == set()
    assert chain.judged("named and hidden", HIDDEN) == set()
    assert "RDNS_NONE" not in chain.gateway.report("named and hidden")["tests"]


def test_a_signature_that_cannot_be_verified_does_not_save_from_dmarc(chain: Authenticated) -> None:
    nothing = "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=nothing.test.com; s=x; h=from; bh=eA==; b=eA==\r\n"
    assert chain.judged("no such key", UNNAMED, extra=nothing) == FAIL


@pytest.mark.parametrize("method", ["simple/simple", "relaxed/relaxed"])
def test_b60_a_signed_8bit_mail_arrives_as_it_was_signed(chain: Authenticated, method: str) -> None:
    gateway, subject = chain.gateway, f"signed {method}"
    body = "Grüße aus Köln  \r\n\r\n.\r\n..two dots\r\nFrom here\r\n" + "ä" * 490 + "\r\n \r\n\r\n"
    forged = [f"{HOST}; dkim=pass header.d=bank.test.com", f"(x) {HOST.upper()}/1; spf=pass", "; dkim=pass"]
    kept = ["other.example; dkim=fail", f"not.{HOST}; dkim=pass"]
    fields = "".join(f"Authentication-Results: {one}\r\n" for one in [*forged, *kept])
    raw = chain.signed(letter(subject, "alice@signed.test.com", body=body), method=method)
    assert chain.send(fields.encode() + raw, UNNAMED, sender="alice@strict.test.com")[0] == 250
    gateway.idle()
    delivered = gateway.raw(subject)
    assert delivered.partition(b"\r\n\r\n")[2] == body.encode()
    assert chain.verified(delivered) == "pass"
    assert chain.verified(delivered.replace("ü".encode(), b"u", 1)) == "fail (body has been altered)"
    ours, *others = results(delivered.decode().replace("\r\n", "\n"))
    assert ours.startswith(f"{HOST} (amavis); dkim=pass ")
    assert "header.d=signed.test.com" in ours
    assert others == kept
    report = gateway.report(subject)
    assert report["dkim_valid_sig"]
    assert report["dkim_author_sig"] == "signed.test.com"
    assert {"DKIM_VALID", "DKIM_VALID_AU", "SPF_FAIL", "DMARC_PASS"} <= set(report["tests"])


def test_b60_of_a_marked_mail_only_the_subject_is_changed(chain: Authenticated) -> None:
    chain.gateway.set_policy(policy(levels=LEVELS | {"tag2": setting(-100)}))
    raw = chain.signed(letter("marked", "alice@signed.test.com", body="Grüße\r\n"))
    chain.send(raw, UNNAMED, sender="alice@signed.test.com")
    chain.gateway.idle()
    delivered = chain.gateway.raw("***SPAM*** marked")
    assert b"X-Spam-Flag: YES" in delivered
    assert " dkim=pass " in results(delivered.decode().replace("\r\n", "\n"))[0]
    assert chain.verified(delivered) == "fail (message has been altered)", "the signature is of the subject, too"
    assert chain.verified(delivered.replace(b"***SPAM*** ", b"")) == "pass"


def test_an_altered_mail_fails(chain: Authenticated) -> None:
    chain.gateway.set_policy(policy(levels=LEVELS, spamRules="score DMARC_REJECT 60\n"))
    raw = chain.signed(letter("altered", "alice@signed.test.com")).replace(b"Hello.", b"Hallo.")
    chain.send(raw, UNNAMED, sender="alice@signed.test.com")
    chain.gateway.idle()
    (delivered,) = chain.gateway.delivered("altered")
    assert " dkim=fail " in results(delivered)[0]
    report = chain.gateway.report("altered")
    assert "DMARC_REJECT" in report["tests"]
    assert report["spam_score"] > 60


def test_b45_lists_that_refuse_to_answer_do_not_score(chain: Authenticated) -> None:
    body = "See http://refused.com/ and http://bits.com/ for what we said on Monday.\r\n"
    chain.send(letter("refused", "alice@strict.test.com", body=body), "203.0.113.50", sender="alice@strict.test.com")
    body = body.replace("refused", "unknown").replace("bits", "unlisted")
    chain.send(letter("unlisted", "alice@strict.test.com", body=body), "203.0.113.51", sender="alice@strict.test.com")
    refused, unlisted = chain.gateway.report("refused"), chain.gateway.report("unlisted")
    assert refused["spam_score"] == pytest.approx(unlisted["spam_score"], abs=1e-4)
    assert "spam_lists_refused" not in unlisted
    assert {"URIBL_BLOCKED", "SURBL_BLOCKED", "URIBL_DBL_BLOCKED_OPENDNS", "RCVD_IN_ZEN_BLOCKED_OPENDNS"} <= set(
        refused["spam_lists_refused"]
    )
    assert {"RCVD_IN_DNSWL_BLOCKED", "RCVD_IN_VALIDITY_RPBL_BLOCKED", "RCVD_IN_PSBL"} <= set(
        refused["spam_lists_refused"]
    )
    assert {test for test in set(refused["tests"]) - set(unlisted["tests"]) if "BLOCKED" not in test} == set()
    assert chain.gateway.amavis.run("perl", "-e", _COUNTED).stdout.decode() == ""


def test_a_released_mail_has_nobodys_word_for_ours(chain: Authenticated) -> None:
    chain.gateway.set_policy(policy(levels=LEVELS | {"tag2": setting(-100), "kill": setting(-100)}))
    forged = f"Authentication-Results: {HOST}; dkim=pass\r\nAuthentication-Results: other.example; dkim=pass\r\n"
    chain.send(letter("held", "alice@strict.test.com", forged), NAMED, sender="alice@strict.test.com")
    held = str(chain.gateway.report("held")["quarantine"])
    assert chain.gateway.release(held)[0].startswith("250 2.0.0 ")
    chain.gateway.idle()
    (delivered,) = chain.gateway.delivered("held")
    assert results(delivered) == ["other.example; dkim=pass"]


@pytest.mark.parametrize("mode", ["AfterQueue"], indirect=True)
def test_dns_that_does_not_answer_loses_no_mail(chain: Authenticated) -> None:
    """Sixty signatures: to wait for each would take longer than amavis may work on a mail."""
    dead = "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=d{}.silent.com; s=x; h=from; bh=eA==; b=eA==\r\n"
    signatures = "".join(dead.format(number) for number in range(60))
    chain.send(letter("silence", "alice@silent.com", signatures), NAMED, sender="alice@silent.com", helo="silent.com")
    chain.gateway.idle()
    (delivered,) = chain.gateway.delivered("silence")
    assert results(delivered)[0].startswith(f"{HOST} (amavis); dkim=temperror ")
    assert "query timed out" in results(delivered)[0]
    assert "status=deferred" not in chain.gateway.postfix.log
