module affidavit/tests/foreign/xmod

go 1.25.0

// The first version without CVE-2026-56865: before it, TileHashReader left some full tiles unauthenticated.
require golang.org/x/mod v0.40.0
