"""Tables that a MailFilter names instead of spelling them out."""

from mailfilter.api.lists import SenderScore

_PESTS = (
    r"^(bulkmail|offers|cheapbenefits|earnmoney|foryou)@",
    r"^(greatcasino|investments|lose_weight_today|market\.alert)@",
    r"^(money2you|MyGreenCard|new\.tld\.registry|opt-out|opt-in)@",
    r"^(optin|saveonlsmoking2002k|specialoffer|specialoffers)@",
    r"^(stockalert|stopsnoring|wantsome|workathome|yesitsfree)@",
    r"^(your_friend|greatoffers)@",
    r"^(inkjetplanet|marketopt|MakeMoney)\d*@",
)
_KNOWN = {
    "nobody@cert.org": -3,
    "cert-advisory@us-cert.gov": -3,
    "owner-alert@iss.net": -3,
    "slashdot@slashdot.org": -3,
    "securityfocus.com": -3,
    "ntbugtraq@listserv.ntbugtraq.com": -3,
    "security-alerts@linuxsecurity.com": -3,
    "mailman-announce-admin@python.org": -3,
    "amavis-user-admin@lists.sourceforge.net": -3,
    "amavis-user-bounces@lists.sourceforge.net": -3,
    "spamassassin.apache.org": -3,
    "notification-return@lists.sophos.com": -3,
    "owner-postfix-users@postfix.org": -3,
    "owner-postfix-announce@postfix.org": -3,
    "owner-sendmail-announce@lists.sendmail.org": -3,
    "sendmail-announce-request@lists.sendmail.org": -3,
    "donotreply@sendmail.org": -3,
    "ca+envelope@sendmail.org": -3,
    "noreply@freshmeat.net": -3,
    "owner-technews@postel.acm.org": -3,
    "ietf-123-owner@loki.ietf.org": -3,
    "cvs-commits-list-admin@gnome.org": -3,
    "rt-users-admin@lists.fsck.com": -3,
    "clp-request@comp.nus.edu.sg": -3,
    "surveys-errors@lists.nua.ie": -3,
    "emailnews@genomeweb.com": -5,
    "yahoo-dev-null@yahoo-inc.com": -3,
    "returns.groups.yahoo.com": -3,
    "clusternews@linuxnetworx.com": -3,
    "lvs-users-admin@linuxvirtualserver.org": -3,
    "owner-textbreakingnews@cnnimail12.cnn.com": -5,
    "sender@example.net": 3,
    ".example.net": 1,
}

CLASSIC_SCORES = (
    *(SenderScore(sender_regexp=pattern, score=5) for pattern in _PESTS),
    *(SenderScore(sender=pattern, score=score) for pattern, score in _KNOWN.items()),
)
"""amavis' long-standing sample of @score_sender_maps."""
