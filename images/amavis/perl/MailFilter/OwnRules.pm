package MailFilter::OwnRules;
use strict;
use warnings;
use Cpanel::JSON::XS ();
use Exporter 'import';
use POSIX ();
use Time::HiRes qw(ITIMER_PROF);

our @EXPORT_OK = qw(is_apart with_priority);

# The policy's own rules for SpamAssassin, when a mail is checked. There are patterns that Perl matches for hours, and no
# signal handler of Perl's runs meanwhile. So these rules, and none of SpamAssassin's, run in a process of their own that the
# kernel ends when its time is over; the mail is judged by all other rules.

our $SECONDS = 5;       # of CPU that a rule may take, with those of its type that come before it
our $TRIES = 3;         # processes for the rules of one type, each without the rules that the one before ended with

# SpamAssassin runs rules of one type and priority together; its own have other priorities. Those that capture a text for
# other rules come first.
my $PRIORITY = 1;
my $CAPTURES = -9999;
my %APART = ($PRIORITY => 1, $CAPTURES => 1);

my $JSON = Cpanel::JSON::XS->new->utf8;
my @left;

# The text of the rules with what sets them apart from SpamAssassin's.
sub with_priority {
  my ($rules) = @_;
  # Of meta rules, too: SpamAssassin runs a rule no later than a meta rule that needs it.
  my %rule = $rules =~ /^[ \t]*(?:header|body|rawbody|uri|full|meta)[ \t]+(\w+)(.*)/mg;
  return join '', "$rules\n",
    map { "priority $_ " . ($rule{$_} =~ /\(\?P?<[A-Z]/ ? $CAPTURES : $PRIORITY) . "\n" } sort keys %rule;
}

# Whether SpamAssassin, having read that, runs the rule apart from its own.
sub is_apart {
  my ($conf, $name) = @_;
  return $APART{ $conf->{priority}{$name} // 0 };
}

sub install {
  no warnings 'redefine';
  require Mail::SpamAssassin::Plugin::Check;
  my $run = \&Mail::SpamAssassin::Plugin::Check::run_generic_tests;
  *Mail::SpamAssassin::Plugin::Check::run_generic_tests = sub {
    my ($plugin, $status, $priority, %options) = @_;
    my $rules = $options{testhash}{$priority};
    return $run->(@_) if !$APART{$priority};
    # What is compiled here stays: an empty program would be run in place of the rules of a later policy.
    return if !$rules || !%$rules;
    my @call = @_;
    return bounded($status, $options{type}, [ keys %$rules ], sub { $run->(@call) });
  };
  my $clone = \&Mail::SpamAssassin::Conf::clone;
  *Mail::SpamAssassin::Conf::clone = sub {
    my ($conf, $source) = @_;
    forget_rules($conf, $source) if $source;
    return $clone->(@_);
  };
  return;
}

# Before SpamAssassin goes back to its own configuration, into which it then reads the rules of another policy: it would keep
# those of this one, and run them where the other has the same names for rules of other kinds.
sub forget_rules {
  my ($conf, $saved) = @_;
  for my $kind ($conf->get_rule_types) {
    delete $conf->{$kind}{$_} for grep { !exists $saved->{$kind}{$_} } keys %{ $conf->{$kind} };
  }
  # By rule, the meta rules that wait for it: SpamAssassin would look for those among what it has.
  for my $waiting (values %{ $conf->{meta_deprules} }) {
    delete $waiting->{$_} for grep { !exists $saved->{meta_tests}{$_} } keys %$waiting;
  }
  return;
}

sub start_mail { @left = (); return }

# Names of rules that did not come to an end with the current mail.
sub left { return @left }

sub bounded {
  my ($status, $type, $rules, $run) = @_;
  my %open = map { $_ => 1 } grep { $status->{conf}{scores}{$_} } @$rules;
  for (1 .. $TRIES) {
    last if !%open;
    my $ended_in = one_process($status, \%open, $run) // last;
    push @left, $ended_in;
    Amavis::Util::do_log(-1, 'spam.rules: %s takes more than %s s, the mail is judged without it', $ended_in, $SECONDS);
  }
  push @left, sort keys %open;
  $status->rule_ready($_, 1) for keys %open;
  return;
}

# Runs the rules of %$open and takes out those that came to an end. The name of the one that did not, undef when all did.
sub one_process {
  my ($status, $open, $run) = @_;
  pipe(my $results, my $writer) or die "pipe: $!\n";
  my $pid = fork() // die "fork: $!\n";
  run_rules($status, $open, $run, $writer) if !$pid;
  close $writer;
  my $running;
  my $done = eval { $running = replay($status, $open, $results); 1 };
  my $failure = $@;
  kill('KILL', $pid);
  waitpid($pid, 0);
  die $failure if !$done;
  return $running;
}

sub run_rules {
  my ($status, $open, $run, $writer) = @_;
  $SIG{$_} = 'DEFAULT' for qw(ALRM PROF TERM);
  alarm 0;
  Time::HiRes::setitimer(ITIMER_PROF, $SECONDS);
  # SpamAssassin passes over a rule without a score.
  $status->{conf}{scores}{$_} = 0 for grep { !$open->{$_} } keys %{ $status->{conf}{user_defined_rules} };
  my $tell = sub { syswrite($writer, $JSON->encode(\@_) . "\n"); return 1 };
  no warnings 'redefine';
  # SpamAssassin calls rule_ready before it runs a rule.
  *Mail::SpamAssassin::PerMsgStatus::rule_ready = sub { $tell->('rule_ready', @_[ 1 .. $#_ ]) };
  *Mail::SpamAssassin::PerMsgStatus::got_hit = sub { $tell->('got_hit', @_[ 1 .. $#_ ]) };
  *Mail::SpamAssassin::PerMsgStatus::set_captures = sub { $tell->('set_captures', $_[1]) };
  eval { $run->(); 1 } ? $tell->('end') : Amavis::Util::do_log(-1, 'spam.rules: %s', $@);
  POSIX::_exit(0);
}

sub replay {
  my ($status, $open, $results) = @_;
  my $running;
  local $/ = "\n";
  while (defined(my $line = readline $results)) {
    my ($what, @arguments) = @{ $JSON->decode($line) };
    if ($what eq 'got_hit') {
      $status->got_hit(@arguments);
    } elsif ($what eq 'set_captures') {
      $status->set_captures(@arguments);
    } elsif ($what eq 'rule_ready') {
      $running = $arguments[0];
      delete $open->{$running};
      $status->rule_ready($running, 1);
    } else {
      %$open = ();
      return;
    }
  }
  return $running;
}

1;
