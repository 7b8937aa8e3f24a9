"""A local provider: it speaks OpenAI chat completions and Anthropic messages, and costs nothing.

It is the only stand-in for a paid API in this project: the guided tour, the replay, the benchmarks and the tests all
use it, so whatever it gets wrong is wrong in one place. Promise: the providers' official clients parse everything that
it says; an answer is a function of the request (no clock, no randomness); every request that arrived whole is counted.

`server` has the sockets, `openai_chat` and `anthropic_messages` the two formats, `turn` what is answered, `script`
turns that were written or recorded beforehand, `wish` how a request asks for trouble, `tally` the counts, `running` how
others start it. `python -m affidavit.demo.simulator --help` runs it alone.
"""
