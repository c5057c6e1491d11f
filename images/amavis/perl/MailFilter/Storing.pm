package MailFilter::Storing;
use strict;
use warnings;

# A mail that could not be stored leaves no part of it behind. Postfix tries again and again while the volume is full: the
# pieces would take the room that comes back, and stand in the quarantine as mail that cannot be read.

sub install {
  no warnings qw(once redefine);
  my $store = \&Amavis::Out::Local::mail_to_local_mailbox;
  *Amavis::Out::Local::mail_to_local_mailbox = sub {
    my ($mail) = @_;
    my %there = map { $_ => 1 } files_of($mail);
    my $returned = eval { $store->(@_); 1 };
    my $error = $@;
    if (!$returned || grep { ($_->recip_smtp_response // '') !~ /\A2/ } @{ $mail->per_recip_data }) {
      unlink(grep { !$there{$_} } files_of($mail));
    }
    die $error if !$returned;
    return;
  };
  return;
}

# amavis names files after mails (@local: spam/%m.gz, one level of folders).
sub files_of {
  my ($mail) = @_;
  my ($id) = ($mail->mail_id // '') =~ /\A([A-Za-z0-9][A-Za-z0-9_-]{0,31})\z/ or return;
  my $letter = substr($id, 0, 1);
  return grep { -e $_ } map { ("$_/$letter/$id", "$_/$letter/$id.gz") }
    map { "$Amavis::Conf::QUARANTINEDIR/$_" } qw(spam virus banned bad-header);
}

1;
