"""`mailfilter plan`: what an apply of MailFilter manifests would do, before it is done. It writes nothing."""
