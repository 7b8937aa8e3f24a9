"""What each provider's bytes mean: pure functions over bytes, without clock, files, network or chance.

From the bottom: `limits` (bounds), `values` (what comes out), `json_text` (JSON as text: soundness, canonical form,
places), `sse` and `encoding` (framing and content coding), `dialect`, one module a dialect (`openai_chat`,
`anthropic_messages`), `meaning` (the two functions that the sealer calls), `strings` (whole JSON strings, for
citations), `tail` (the one part that runs in the gateway). No function here raises because of what a client or a
provider sent.
"""
