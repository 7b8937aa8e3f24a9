"""Dictionary 1 of body compression: words of protocols, written by us, never trained on anybody's content.

Promise: these bytes never change; a body with version byte 1 is compressed against them as a zstd raw-content
dictionary. A better dictionary
gets another version byte. A dictionary made from content could not be erased, so there is none. Its SHA-256 stands in
docs/formats.md.
"""

# ruff: noqa: E501 - pieces of wire formats, kept whole

from __future__ import annotations

from typing import Final

DICTIONARY_1: Final = (
    b'{"error":{"message":"","type":"invalid_request_error","param":null,"code":null}}'
    b'{"type":"error","error":{"type":"overloaded_error","message":"'
    b'"top_p":1,"frequency_penalty":0,"presence_penalty":0,"max_completion_tokens":,"max_tokens":1024,"seed":,"n":1,"stop":null,'
    b'"response_format":{"type":"json_schema","json_schema":{"name":"","strict":true,"schema":{"type":"object","properties":{'
    b'"tool_choice":"auto","parallel_tool_calls":true,"stream_options":{"include_usage":true},"metadata":{"user_id":"'
    b'"tools":[{"type":"function","function":{"name":"","description":"","parameters":{"type":"object","properties":{'
    b'"input_schema":{"type":"object","required":["'
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_","type":"message","role":"assistant","model":"claude-'
    b'","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    b'"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
    b'"}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"'
    b'"}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    b'"content":[{"type":"text","text":"'
    b'"stop_reason":"tool_use","type":"tool_use","id":"toolu_","input":{"'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":1,"model":"gpt-4o-","service_tier":"default","system_fingerprint":"fp_",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" "},"logprobs":null,"finish_reason":null}]}\n\n'
    b'"delta":{"tool_calls":[{"index":0,"id":"call_","type":"function","function":{"name":"","arguments":"{\\"'
    b'"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    b'"finish_reason":"length""finish_reason":"content_filter"'
    b'{"id":"chatcmpl-","object":"chat.completion","created":17,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"'
    b'","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":,"completion_tokens":,"total_tokens":,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
    b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_"}'
    b'"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_","type":"function","function":{"name":"","arguments":"{\\"\\":\\"\\"}"}}],'
    b'"refusal":null},"finish_reason":"tool_calls"}]'
    b'{"role":"tool","tool_call_id":"call_","name":"","content":"{\\"'
    b'{"messages":[{"role":"system","content":"# '
    b'"},{"role":"user","content":"'
    b'"},{"role":"assistant","content":"'
    b'"}],"model":"gpt-4o","temperature":0.0,"stream":true,"user":"'
    b'{"max_tokens":1024,"messages":[{"role":"user","content":"'
    b'{"context":{"client_ip":"127.0.0.1","client_port":,"user_agent":"OpenAI/Python 2.0.0"},"http":{"credentials":[{"fingerprint":"'
    b'","name":"authorization","scheme":"Bearer"}],"headers":[["accept-encoding","gzip, deflate, br, zstd"],["connection","keep-alive"],'
    b'["accept","application/json"],["content-type","application/json"],["user-agent","OpenAI/Python 2.0.0"],["x-stainless-lang","python"],'
    b'["x-stainless-package-version","2.0.0"],["x-stainless-os","Linux"],["x-stainless-arch","x64"],["x-stainless-runtime","CPython"],'
    b'["x-stainless-runtime-version","3.11.2"],["x-stainless-async","false"],["x-stainless-async","async:asyncio"],["x-stainless-retry-count","0"],'
    b'["x-stainless-read-timeout","600"],["x-stainless-raw-response","true"],["x-stainless-timeout","600"],["content-length","1'
    b'["Host","127.0.0.1:8321"],["Accept-Encoding","gzip, deflate"],["Connection","keep-alive"],["Accept","application/json"],'
    b'["Content-Type","application/json"],["User-Agent","OpenAI/Python 2.0.0"],["X-Stainless-Lang","python"],["X-Stainless-Package-Version","2.0.0"],'
    b'["X-Stainless-OS","Linux"],["X-Stainless-Arch","x64"],["X-Stainless-Runtime","CPython"],["X-Stainless-Runtime-Version","3.11.2"],'
    b'["X-Stainless-Async","false"],["x-stainless-retry-count","0"],["x-stainless-read-timeout","600"],["Content-Length","1'
    b'["anthropic-version","2023-06-01"],["X-Stainless-Timeout","600"],'
    b'"]],"method":"POST","target":"/v1/messages","version":"1.1"},"identity":{"app":"","key":"","session":"","source":"header","team":"","user":"'
    b'"]],"method":"POST","target":"/v1/chat/completions","version":"1.1"},"identity":{"key":"","source":"key","user":"'
    b'{"http":{"headers":[["content-type","text/event-stream; charset=utf-8"],["date","Sat, 01 Jan 2026 00:00:00 GMT"],["transfer-encoding","chunked"],'
    b'["openai-processing-ms","100"],["openai-version","2020-10-01"],["x-request-id","req_"],["x-ratelimit-limit-requests","10000"],'
    b'["x-ratelimit-remaining-tokens","'
    b'{"finish":{"reasons":["tool_calls"]},"http":{"headers":[["content-type","application/json"],["content-length","1"],["connection","keep-alive"]],'
    b'"reason":"OK","status":200,"version":"1.1"},"model":{"fingerprint":"fp_","id":"chatcmpl-","served":"gpt-4o-2024-08-06","service_tier":"default"},'
    b'"times":{"durable":17,"first_byte":17,"forwarded":17,"last_byte":17,"received":17}}'
    b'{"finish":{"reasons":["stop"]},"http":{"headers":[["Content-Type","application/json"],["Content-Length","'
)
