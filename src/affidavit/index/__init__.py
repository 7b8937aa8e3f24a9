"""The search index: a projection of the ledger in ClickHouse, which can be dropped and made again at any time.

Promises. It holds what `seal.masked.MaskedRow` holds, never more. Nothing of it lies on a disk in clear text. Every
row names the leaf that proves it. No query runs without a `Scope`, and nothing that a query says widens one. What
people write reaches ClickHouse as bound parameters only.

Order: `schema` and `engine` say what is stored and where; `store` opens it; `follower` fills it; `language` reads what
people write, `conditions` turns it into SQL, `scope` fences it in; `query` and `statistics` answer.
"""
