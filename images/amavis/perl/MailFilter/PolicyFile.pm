package MailFilter::PolicyFile;
use strict;
use warnings;
use Cpanel::JSON::XS ();
use Digest::SHA qw(sha256_hex);
use Exporter 'import';
use MailFilter::Files qw(read_octets replace_file);
use MailFilter::Policy ();
use MailFilter::SenderFiles ();
use MailFilter::SpamRules ();
use Amavis::Lookup ();    # after Amavis::Util, which MailFilter::Policy loads
use Time::HiRes ();

our @EXPORT_OK = qw(by_recipient chosen policy);

# The policy in force, and how it is replaced while mail flows.

my $FILE = '/etc/mailfilter/policy/policy.json';
my $GOOD = '/run/amavis/policy.good';          # the last one that any process accepted: what all processes fall back to
my $REFUSED = '/run/amavis/policy.refused';

my $PATIENCE_SECONDS = 120;

my $in_force;       # lookup tables
my $hash = '';      # SHA-256 of the octets that they are from
my $waits;          # whether the file names lists that are not mounted yet
my $judged = '';    # identity of the file that was accepted or refused last

# A lookup table for amavis: code that asks the policy in force for what is at that path.
sub policy {
  my @path = @_;
  return sub {
    my $found = $in_force;
    $found = $found->{$_} for @path;
    return $found;
  };
}

# The same for a setting that can differ by recipient.
sub by_recipient {
  my @path = @_;
  return sub { chosen($_[0], @path) };
}

# What holds for a recipient: the most specific key wins.
sub chosen {
  my ($recipient, @path) = @_;
  my $setting = policy(@path)->();
  my $own = Amavis::Lookup::lookup2(0, $recipient, [ $setting->{by} ]);
  return $own ? $$own : $setting->{default};
}

# The name of the policy bank that marks each report with the policy which judged the mail.
sub bank { return 'P-' . substr($hash, 0, 12) }

# Lists may come a moment after the policy that names them.
sub start {
  for (1 .. $PATIENCE_SECONDS) {
    refresh();
    last if $in_force || !$waits;
    warn "waiting for the lists of senders that the policy names\n" if $_ == 1;
    sleep 1;
  }
  $in_force or die "no policy was ever accepted: $FILE is missing or refused, and there is no $GOOD\n";
  return;
}

# Looks at the file. Whatever it finds, there is a policy in force afterwards if there was one before.
sub refresh {
  my $found = identity($FILE);
  return if $found eq $judged;
  $judged = $found;
  my $octets = eval { read_octets($FILE) };
  my $failure = $@;
  my $tables = defined $octets ? eval { usable($octets) } : undef;
  $failure = $@ if defined $octets;
  $waits = ref $failure;
  if (!$tables && !$waits && $failure eq "busy\n") {
    $judged = '';       # another process is about to know; the policy in force stays until the next mail
  } elsif ($waits) {
    Amavis::Util::do_log(1, 'a policy waits for %s', $failure->{waits_for});
    fall_back();
  } elsif ($tables) {
    put_in_force($octets, $tables);
    eval { remember($octets); 1 } or log_error("policy accepted, not recorded: $@");
  } else {
    eval { refuse(defined $octets ? $octets : '', $failure); 1 } or log_error("policy refused, not recorded: $@");
    fall_back();
  }
  return;
}

# Kubernetes replaces a mounted file by another one behind a symbolic link.
sub identity {
  my ($path) = @_;
  my @stat = Time::HiRes::stat($path);
  return @stat ? join(':', @stat[0, 1, 7, 9, 10]) : 'missing';
}

sub usable {
  my ($octets) = @_;
  my $tables = MailFilter::Policy::parse($octets);
  my $rules_file = $tables->{spamRulesFile};
  MailFilter::SpamRules::accept_rules($tables->{spamRules}, $rules_file, !$in_force) if defined $rules_file;
  my $files = $tables->{senders}{files};
  $tables->{senders}{default}{long} = MailFilter::SenderFiles::table($files) if %$files;
  return $tables;
}

sub put_in_force {
  my ($octets, $tables) = @_;
  delete $Amavis::Conf::policy_bank{ bank() };
  ($hash) = sha256_hex($octets) =~ /\A([0-9a-f]{64})\z/;
  $in_force = $tables;
  $Amavis::Conf::policy_bank{ bank() } = {};
  no strict 'refs';
  ${"Amavis::Conf::$_"} = $tables->{settings}{$_} for keys %{ $tables->{settings} };
  Amavis::Util::do_log(1, 'policy %s is in force', $hash);
  return;
}

# In statements of their own: perl -T lets the taint of file data spread over the expression that it is in.
sub remember {
  my ($octets) = @_;
  my $known = eval { read_octets($GOOD) };
  my $same = defined $known && $known eq $octets;
  replace_file($GOOD, $octets) if !$same;
  unlink($REFUSED);
  MailFilter::SenderFiles::tidy($in_force->{senders}{files});
  return;
}

sub refuse {
  my ($octets, $reason) = @_;
  chomp $reason;
  log_error("policy refused: $reason");
  my ($refused_hash) = sha256_hex($octets) =~ /\A([0-9a-f]{64})\z/;
  replace_file($REFUSED, Cpanel::JSON::XS->new->utf8->canonical->encode({ hash => $refused_hash, reason => $reason }));
  return;
}

sub fall_back {
  my $octets = eval { read_octets($GOOD) };
  return if !defined $octets;
  my $known = sha256_hex($octets);
  return if $known eq $hash;
  my $tables = eval { usable($octets) };
  put_in_force($octets, $tables) if $tables;
  return;
}

sub log_error {
  my ($message) = @_;
  chomp $message;
  Amavis::Util::do_log(-2, '%s', $message);
  return;
}

1;
