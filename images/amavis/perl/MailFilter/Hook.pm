package MailFilter::Hook;
use strict;
use warnings;
use MailFilter::Authentication ();
use MailFilter::Destinies ();
use MailFilter::Dns ();
use MailFilter::Notices ();
use MailFilter::Peers ();
use MailFilter::PolicyFile ();
use MailFilter::Releases ();
use MailFilter::Reports ();
use MailFilter::Senders ();
use MailFilter::Signing ();
use MailFilter::SpamCheck ();
use MailFilter::Storing ();
use MailFilter::Unopened ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);

# Where amavis calls into this package: its own hooks (Amavis::Custom, Net::Server's), and functions that it has no hook for.

sub install {
  no warnings qw(once redefine);
  *Amavis::Custom::new = \&before_mail;
  *Amavis::Custom::checks = \&after_checks;
  *Amavis::Custom::mail_done = \&after_mail;
  my $new_names = \&Amavis::Unpackers::NewFilename::new;
  *Amavis::Unpackers::NewFilename::new = sub ($;$$) { $new_names->(limits_of_now(@_)) };
  before('Amavis::get_body_digest', \&MailFilter::Dns::start_mail);    # verifies signatures, the first that asks DNS
  before('Amavis::do_notify_and_quarantine', \&MailFilter::Destinies::settle);
  before('Amavis::add_forwarding_header_edits_common', \&MailFilter::Releases::drop_forged);
  before('Amavis::run_n_children_hook', \&MailFilter::PolicyFile::refresh);   # new children share the newest policy's memory
  before('Amavis::post_bind_hook', \&send_replies_at_once);
  # amavis loads what these wrap after its configuration.
  before('Amavis::post_bind_hook', $_) for \&MailFilter::SpamCheck::install, \&MailFilter::Peers::install,
    \&MailFilter::Authentication::install, \&MailFilter::Signing::install, \&MailFilter::Unopened::install, \&MailFilter::Storing::install,
    \&MailFilter::Notices::install;
  MailFilter::Reports::install(\&MailFilter::SpamCheck::findings, \&MailFilter::Unopened::findings);
  my $add_header = \&Amavis::Out::EditHeader::add_header;
  *Amavis::Out::EditHeader::add_header = sub { goto &$add_header if !says_no_spam(@_); return };
  require Amavis::SpamControl;
  my $senders = MailFilter::PolicyFile::policy('senders');
  *Amavis::SpamControl::white_black_list = sub ($$$$) {
    # Senders of outgoing mail are the gateway's own: who denies them means those who forge them outside.
    return MailFilter::Signing::is_outgoing($_[0]) ? (0, 0) : MailFilter::Senders::judge($senders->(), $_[0]);
  };
  *Amavis::expand_variables = sub ($) { return $_[0] };     # of notices' From, where a $ is the policy's own
  MailFilter::Releases::install();
  return;
}

sub before {
  my ($name, $code) = @_;
  no strict 'refs';
  no warnings qw(prototype redefine);
  my $original = \&{$name};
  *{$name} = sub { $code->(@_); $original->(@_) };
  return;
}

sub before_mail {
  my ($class, $connection, $mail) = @_;
  MailFilter::SpamCheck::start_mail();
  MailFilter::Authentication::start_mail($mail);
  MailFilter::Unopened::start_mail();
  Amavis::load_policy_bank(MailFilter::PolicyFile::bank(), $mail);
  Amavis::load_policy_bank(MailFilter::Signing::SIGNS(), $mail) if MailFilter::Signing::signs();
  return bless {}, $class;
}

# The first that amavis does with a mail: its limits were read before, and are those of the policy before.
sub limits_of_now {
  my ($class, $max_files, $mail_size) = @_;
  MailFilter::PolicyFile::refresh();
  MailFilter::Signing::choose_keys($Amavis::MSGINFO);
  return ($class, $Amavis::Conf::MAXFILES, $mail_size);
}

# amavis holds a mail beyond its limits only for those whose mail is scanned for viruses. What is in it was not looked at
# for banned attachments, either.
sub after_checks {
  my ($self, $connection, $mail) = @_;
  my $over_limits = Amavis::Conf::CC_UNCHECKED();
  return if !$mail->is_in_contents_category($over_limits, 2);
  $_->add_contents_category($over_limits, 2) for @{ $mail->per_recip_data };
  return;
}

sub after_mail {
  my ($self, $connection, $mail) = @_;
  MailFilter::Reports::send_report($mail);
  return;
}

# amavis writes X-Spam-Flag: NO between the tag levels. Mail programs that only look for the field's name file that as spam.
sub says_no_spam {
  my ($edits, $name, $value) = @_;
  return $name eq 'X-Spam-Flag' && $value eq 'NO';
}

# Postfix pipelines its commands and amavis answers each by itself: with Nagle's algorithm the second answer waits 40 ms for
# the acknowledgement of the first. Accepted connections inherit the option.
sub send_replies_at_once {
  my ($server) = @_;
  for my $socket (@{ $server->{server}{sock} || [] }) {
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1) if $socket->sockdomain != Socket::AF_UNIX;
  }
  return;
}

1;
