"""What is rendered of hostile strings, read back with the daemons' own tools: each value is itself, the rest is."""

import json
import shlex
from collections.abc import Iterator

import pytest

from images.docker import Container, Lab
from images.gateway import AMAVIS, CLAMAV, POSTFIX
from mailfilter.policy import amavis, clamav, postfix
from mailfilter.policy.spamrules import bad_rules
from support.hostile import mutants, rules
from support.samples import NAMES


@pytest.fixture(scope="module")
def lab_of_readers(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(images, network, tmp_path_factory.mktemp("readers"))


@pytest.fixture(scope="module", params=["amavis"])
def perl(lab_of_readers: Lab) -> Iterator[Container]:
    with lab_of_readers.container("amavis", "infinity", user=AMAVIS, entrypoint="sleep") as container:
        yield container


_PERL = ("perl", "-T", "-I/usr/share/mailfilter/perl", "-e")
_CHECKED = r"""
use MailFilter::Policy; use Cpanel::JSON::XS;
my $json = Cpanel::JSON::XS->new->utf8->canonical;
local $/ = "\0";
while (defined(my $octets = <STDIN>)) {
  chomp $octets;
  MailFilter::Policy::parse($octets);
  print $json->encode(MailFilter::Policy::checked($octets)), "\0";
}
"""


def test_policies_read_back_as_they_were_written(perl: Container) -> None:
    policies = {amavis.policy_json(one.spec): one for one in mutants() if not bad_rules(one.spec.spam.rules or "")}
    assert len(policies) > 700
    answers = perl.run(*_PERL, _CHECKED, stdin=b"".join(text.encode() + b"\0" for text in policies)).stdout
    read = answers.decode().split("\0")[:-1]
    assert len(read) == len(policies)
    for (written, mutant), answer in zip(policies.items(), read, strict=True):
        # Perl's number from a choice of one is a string.
        assert json.loads(answer) | {"version": 2} == json.loads(written), (mutant.path, mutant.value)


# Everything in SpamAssassin's configuration that is not a rule, a score, a description or a flag of one.
_RULES = r"""
use Mail::SpamAssassin; use Cpanel::JSON::XS;
open(my $answers, '>&', \*STDOUT); open(STDOUT, '>', '/dev/null');     # SpamAssassin prints parts of some rules
my $json = Cpanel::JSON::XS->new->canonical->allow_nonref->allow_unknown;
my $sa = Mail::SpamAssassin->new({
  dont_copy_prefs => 1, userprefs_filename => '/nonexistent', home_dir_for_helpers => '/tmp', local_tests_only => 1 });
$sa->init(0);
my $conf = $sa->{conf};
my %of_rules = map { $_ => 1 } qw(
  tests test_types test_qrs test_opt_header test_opt_exists test_opt_neg test_opt_unset scores scoreset descriptions
  tflags priority priorities user_defined_rules want_rebuild_for_type source_file meta_tests meta_dependencies
  meta_deprules meta_nodeps capture_rules capture_template_rules body_tests head_tests uri_tests rawbody_tests
  full_tests body_evals head_evals rawbody_evals full_evals rbl_evals errors main parser);
sub others { return join "\n", map { "$_ " . (eval { $json->encode($conf->{$_}) } // ref $conf->{$_}) }
  grep { !$of_rules{$_} } sort keys %$conf }
sub evals { return join ' ', map { my $e = $_; map { my $p = $_; map { "$e $p $_" } sort keys %{ $conf->{$e}{$p} } }
  sort keys %{ $conf->{$e} } } qw(body_evals head_evals rawbody_evals full_evals) }
sub plugins { return join ' ', map { ref } @{ $sa->{plugins}{plugins} } }
my $before;
sub state_of { return others() . "\n" . evals() . "\n" . plugins() }
local $/ = "\0";
local $SIG{__WARN__} = sub { };
for my $given ("body WARM /x/\n", <STDIN>) {
  my $rules = $given =~ s/\0\z//r;
  $conf->{main} = $sa;
  eval { $conf->parse_scores_only("file start rules\n$rules\nfile end rules\n"); $conf->finish_parsing(1) };
  delete $conf->{main};
  my $after = state_of();
  my %old = map { $_ => 1 } split /\n/, $before // $after;
  my $verdict = ($before // '') eq $after ? 'same' : join "\n", grep { !$old{$_} } split /\n/, $after;
  print {$answers} "$verdict\0" if defined $before;
  $before = $after;
}
"""


def test_rules_change_rules_alone(perl: Container) -> None:
    assert len(rules()) > 1000
    # Each takes SpamAssassin a fifteenth of a second; a prime, so that all fragments and places come in turn.
    tried = rules()[::17]
    done = perl.run(*_PERL, _RULES, stdin=b"".join(text.encode() + b"\0" for text in tried))
    read = done.stdout.decode().split("\0")[:-1]
    assert len(read) == len(tried)
    for text, verdict in zip(tried, read, strict=True):
        assert verdict == "same", (text, verdict)


def test_tables_read_back_as_they_were_written(lab_of_readers: Lab) -> None:
    tables = {
        postfix.table_source(table): table
        for mutant in mutants()
        for name, table in postfix.tables(mutant.spec).items()
        if not name.endswith("_networks")
    }
    assert len(tables) > 200
    directory = lab_of_readers.volume()
    for number, (source, table) in enumerate(tables.items()):
        (directory / f"{number}.table").write_text(source, encoding="utf-8")
        (directory / f"{number}.keys").write_text("".join(f"{key}\n" for key in table), encoding="utf-8")
    script = """
      cd /tables && for keys in *.keys; do
        number=${keys%.keys}
        postmap -c /usr/share/mailfilter/postfix cdb:$number.table
        postmap -c /usr/share/mailfilter/postfix -s cdb:$number.table > $number.all
        postmap -c /usr/share/mailfilter/postfix -q - cdb:$number.table < $keys > $number.found
      done"""
    with lab_of_readers.container(
        "postfix", "infinity", user=POSTFIX, entrypoint="sleep", volumes={"/tables": directory}
    ) as reader:
        assert reader.run("sh", "-c", script, check=False).stderr == b""
    for number, table in enumerate(tables.values()):
        for answers in ("all", "found"):
            lines = (directory / f"{number}.{answers}").read_text(encoding="utf-8").splitlines()
            assert dict(line.split("\t", 1) for line in lines) == table, (answers, table)


def test_parameters_read_back_as_they_were_written(lab_of_readers: Lab) -> None:
    files = {postfix.main_cf(values): values for one in mutants() for values in [postfix.parameters(one.spec, NAMES)]}
    (names,) = {tuple(values) for values in files.values()}
    directory = lab_of_readers.volume()
    for number, text in enumerate(files):
        (directory / f"{number}.main").write_text(text, encoding="utf-8")
    script = f"""
      mkdir /tmp/p && cd /usr/share/mailfilter/postfix && cat master.cf outgoing.cf > /tmp/p/master.cf
      for text in /parameters/*.main; do
        cat main.cf $text > /tmp/p/main.cf
        postconf -c /tmp/p {shlex.join(names)} > ${{text%.main}}.read
      done"""
    volumes = {"/parameters": directory}
    with lab_of_readers.container("postfix", "infinity", user=POSTFIX, entrypoint="sleep", volumes=volumes) as reader:
        assert reader.run("sh", "-c", script).stderr == b""
    for number, values in enumerate(files.values()):
        lines = (directory / f"{number}.read").read_text(encoding="utf-8").splitlines()
        read = dict(line.split(" =", 1) for line in lines)
        assert {name: value.strip() for name, value in read.items()} == values


def test_clamav_reads_back_what_was_written(lab_of_readers: Lab) -> None:
    renderers = {"freshclam.conf": clamav.freshclam_conf, "clamd.conf": clamav.clamd_conf}
    files = {(name, render(one.spec)) for name, render in renderers.items() for one in mutants()}
    assert len(files) > 10
    with lab_of_readers.container("clamav", "infinity", user=CLAMAV, entrypoint="sleep") as reader:
        for name, text in files:
            script = (
                f"mkdir -p /tmp/c && cat > /tmp/c/{name} && clamconf --config-dir=/tmp/c --non-default; rm -r /tmp/c"
            )
            shown = reader.run("sh", "-c", script, stdin=text.encode()).stdout.decode()
            assert "ERROR" not in shown
            for line in text.splitlines():
                setting, value = line.split(" ", 1)
                if value.startswith("http"):
                    assert f'{setting} = "{value}"' in shown
