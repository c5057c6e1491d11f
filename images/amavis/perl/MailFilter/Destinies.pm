package MailFilter::Destinies;
use strict;
use warnings;
use Amavis::Conf qw(:platform);
use MailFilter::PolicyFile qw(chosen policy);
use MailFilter::Signing ();

# What becomes of blocked mail, recipient by recipient, and that a mail is refused only as a whole: whoever refuses it for one
# recipient and takes it for another owes the sender a notice, and the sender may be forged.

# Who connects here waits in an SMTP session of the sender. On the other port mail is the gateway's already.
my $BEFORE_QUEUE_PORT = 10026;

my %DESTINY = (Pass => D_PASS, Discard => D_DISCARD, Reject => D_REJECT, Bounce => D_BOUNCE);

my %held;    # recipients of the mail in work for whom a refusal became a discard

# For %final_destiny_maps_by_ccat.
sub destiny {
  my ($kind) = @_;
  return [ sub { $DESTINY{ wanted($_[0], $kind) } } ];
}

# For @spam_quarantine_cutoff_level_maps. Nobody was told that such a mail is gone, so it is held whatever its score, and
# outgoing mail is somebody's own: to amavis an empty level is none.
sub cutoff { return sub { $held{ $_[0] } || is_outgoing() ? '' : chosen($_[0], qw(levels cutoff)) } }

sub is_outgoing { return $Amavis::MSGINFO && MailFilter::Signing::is_outgoing($Amavis::MSGINFO) }

sub wanted {
  my ($recipient, $kind) = @_;
  my $destiny = chosen($recipient, 'destiny', $kind);
  return $destiny if $kind ne 'spam' || $destiny eq 'Pass' || !is_above_cutoff($recipient);
  my $above = policy('aboveCutoff')->();
  return $above eq 'Reject' ? $above : $destiny;
}

# amavis asks once a mail is known to be spam for the recipient. A denied sender's is above every level.
sub is_above_cutoff {
  my ($address) = @_;
  my ($recipient) = grep { $_->recip_addr eq $address } @{ $Amavis::MSGINFO->per_recip_data };
  return 0 if !$recipient;
  return 1 if $recipient->recip_blacklisted_sender;
  return ($recipient->spam_level // 0) >= chosen($address, qw(levels cutoff));
}

# Before amavis stores what is blocked: everybody's refusal stands, or nobody's does.
sub settle {
  my ($mail) = @_;
  %held = ();
  my @recipients = @{ $mail->per_recip_data };
  my @refused = grep { $_->recip_destiny == D_REJECT } @recipients;
  return if @refused == @recipients && $mail->conn_obj->socket_port == $BEFORE_QUEUE_PORT;
  discard($_) for @refused;
  return;
}

sub discard {
  my ($recipient) = @_;
  $held{ $recipient->recip_addr } = 1;
  $recipient->recip_destiny(D_DISCARD);
  my $reply = $recipient->recip_smtp_response;
  $reply =~ s/\A5\d\d 5(\.\d+\.\d+) Reject/250 2$1 Ok, discarded/;
  $recipient->recip_smtp_response($reply);
  return;
}

1;
