package MailFilter::SpamCheck;
use strict;
use warnings;
use Amavis::JSON ();
use MailFilter::DnsLists ();
use MailFilter::OwnRules ();

# What amavis' report does not say about SpamAssassin's check of a mail.

my %seen;

sub install {
  no warnings qw(once redefine);
  my $check = \&Amavis::SpamControl::SpamAssassin::call_spamassassin;
  *Amavis::SpamControl::SpamAssassin::call_spamassassin = sub ($$$$) {
    my ($scanner, $mail, $lines, $size_limit) = @_;
    $seen{spam_truncated} = Amavis::JSON::boolean(1) if defined $size_limit;
    return &$check($scanner, $mail, $lines, $size_limit);
  };
  MailFilter::OwnRules::install();
  MailFilter::DnsLists::install();
  return;
}

sub start_mail {
  %seen = ();
  MailFilter::OwnRules::start_mail();
  MailFilter::DnsLists::start_mail();
  return;
}

sub findings {
  my @left = MailFilter::OwnRules::left();
  my @refused = MailFilter::DnsLists::found();
  return (%seen, @left ? (spam_rules_left => \@left) : (), @refused ? (spam_lists_refused => \@refused) : ());
}

1;
