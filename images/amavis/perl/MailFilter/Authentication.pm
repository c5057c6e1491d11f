package MailFilter::Authentication;
use strict;
use warnings;
use MailFilter::Signing ();

# Results of authentication: ours are of this mail, and nobody else's bear our name.

sub install {
  no warnings qw(once redefine);
  # amavis does this itself, but only when it verifies signatures, and not to what it hands out of the quarantine.
  my $edits = \&Amavis::add_forwarding_header_edits_common;
  *Amavis::add_forwarding_header_edits_common = sub ($$$$$$) {
    my ($mail, $header) = @_;
    drop_forged($header) if !Amavis::Conf::c('enable_dkim_verification');
    return &$edits(@_);
  };
  my $held = \&Amavis::In::AMPDP::msg_from_quarantine;
  *Amavis::In::AMPDP::msg_from_quarantine = sub ($$$) {
    my $mail = &$held(@_);
    # A report has none: its header is of our own.
    drop_forged($mail->header_edits) if $mail->header_edits;
    return $mail;
  };
  my $parse = \&Mail::SpamAssassin::Message::Metadata::parse_received_headers;
  *Mail::SpamAssassin::Message::Metadata::parse_received_headers = sub {
    my ($metadata, $scan, $mail) = @_;
    local *Mail::SpamAssassin::Message::get_header = sub { return } if !client_is_known($metadata, $mail);
    return &$parse;
  };
  return if $Amavis::Conf::sa_local_tests_only;
  # Now, so that it is in the memory that all children share.
  require Mail::DMARC::PurePerl;
  Mail::DMARC::PurePerl->new->get_public_suffix_list;
  my $dkim = \&Mail::DMARC::dkim;
  *Mail::DMARC::dkim = sub { return &$dkim(known_results(@_)) };
  return;
}

# Mail::DKIM calls a signature invalid whose key DNS did not tell. That is not the signature's fault (RFC 8601, 2.7.1).
sub start_mail {
  my ($mail) = @_;
  for my $signature (@{ $mail->dkim_signatures_all || [] }) {
    my ($why) = ($signature->result_detail // '') =~ /\Ainvalid \(public key: (DNS .*)\)\z/s or next;
    $signature->result('temperror', $why);
  }
  return;
}

sub drop_forged {
  my ($header) = @_;
  $header->edit_header('Authentication-Results', sub {
    my ($name, $body) = @_;
    return claims_our_name($body) ? (undef, 0) : ($body, 1);
  });
  return;
}

# Whether the field says that we wrote it, or cannot be read. A version may follow the name (RFC 8601, 2.2).
sub claims_our_name {
  my ($body) = @_;
  my $name = Amavis::parse_authservid($body);
  return 1 if !defined $name;
  return lc($name =~ s{/.*}{}sr) eq lc Amavis::Conf::c('myhostname');
}

# Whether SpamAssassin finds in the first Received field the client that Postfix names, and that has a public address.
# One of a load balancer or node that passes mail on under its own address says nothing about the sender; the fields below say
# what the sender wants. Then no relay is better than a wrong one: SPF of all domains would fail, or pass.
# Outgoing mail is no different: its domain's records are of the gateway, which is yet to sign and send it.
sub client_is_known {
  my ($metadata, $mail) = @_;
  return 0 if $Amavis::MSGINFO && MailFilter::Signing::is_outgoing($Amavis::MSGINFO);
  my ($first) = $mail->get_header('Received');
  return 0 if !defined $first;
  my $relay = $metadata->parse_received_line($first =~ s/\n[ \t]+/ /gr);
  my $client = $Amavis::MSGINFO && $Amavis::MSGINFO->client_addr;
  return $relay && $client && !$relay->{ip_private} && lc $relay->{ip} eq lc $client;
}

# Mail::DMARC dies of a result that only Mail::DKIM knows, and the mail would have no DMARC result at all.
sub known_results {
  my ($dmarc, @signature) = @_;
  return @_ if @signature < 2;
  my %signature = @signature;
  $signature{result} = 'permerror' if $signature{result} eq 'invalid';
  return ($dmarc, %signature);
}

1;
