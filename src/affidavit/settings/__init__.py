"""Tables of the configuration that have a module of their own; `affidavit.config` puts them together."""
