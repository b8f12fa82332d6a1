/**
 * What gta serve says to requests that are wrong: one table of requests with the status, the code, the parameter and the whole
 * sentence, which says what, what was expected, what was found, and where it is not plain what to do.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, startServer, type TestServer, untilReady } from './fixtures/api-server.ts'

/** Path, body, status, OpenAI's code and parameter ('' in Ollama's shape), sentence; one that goes on after … is long. */
type Row = [path: string, body: string | undefined, status: number, codeAndParam: string, message: string]

const rows: Row[] = [
  ['/v1/chat/completions', '', 400, 'invalid_json', 'the body must be a JSON object in UTF-8, found that it is empty'],
  ['/v1/chat/completions', 'nope', 400, 'invalid_json', 'the body must be a JSON object in UTF-8, found that it is not JSON (Unexpected token \'o\', "nope" is not valid JSON)'],
  ['/v1/chat/completions', '{}', 400, 'missing_parameter messages', 'messages must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":"a"}', 400, 'invalid_value messages', 'messages must be a list, found "a"'],
  ['/v1/chat/completions', '{"messages":[]}', 400, 'invalid_value messages', 'messages must be a list with at least 1, found an empty one'],
  ['/v1/chat/completions', '{"messages":{}}', 400, 'invalid_value messages', 'messages must be a list, found {}'],
  ['/v1/chat/completions', '{"messages":[1]}', 400, 'invalid_value messages[0]', 'messages[0] must be an object, found 1'],
  ['/v1/chat/completions', '{"messages":[null]}', 400, 'invalid_value messages[0]', 'messages[0] must be an object, found null'],
  ['/v1/chat/completions', '{"messages":[{}]}', 400, 'missing_parameter messages[0].role', 'messages[0].role must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":"user"}]}', 400, 'missing_parameter messages[0].content', 'messages[0].content must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":5,"content":"a"}]}', 400, 'invalid_value messages[0].role', 'messages[0].role must be one of system, developer, user, assistant, tool, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"bot","content":"a"}]}', 400, 'invalid_value messages[0].role', 'messages[0].role must be one of system, developer, user, assistant, tool, found "bot"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":5}]}', 400, 'invalid_value messages[0].content', 'messages[0].content must be a text or a list of parts, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":{}}]}', 400, 'invalid_value messages[0].content', 'messages[0].content must be a text or a list of parts, found {}'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":[5]}]}', 400, 'invalid_value messages[0].content[0]', 'messages[0].content[0] must be an object, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}', 400, 'unsupported_parameter messages[0].content[0].type', 'messages[0].content[0].type must be "text", found "image_url": models here read texts'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}', 400, 'unsupported_parameter messages[0].content[0].type', 'messages[0].content[0].type must be "text", found "input_audio": models here read texts'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":[{"type":"text"}]}]}', 400, 'missing_parameter messages[0].content[0].text', 'messages[0].content[0].text must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}', 400, 'invalid_value messages[0].content[0].text', 'messages[0].content[0].text must be a text, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a","foo":1}]}', 400, 'unsupported_parameter messages[0].foo', 'messages[0].foo is not understood here, and ignoring it could change the answer: leave it out'],
  ['/v1/chat/completions', '{"messages":[{"role":"tool","content":"a"}]}', 400, 'invalid_value messages', 'messages: the message of a tool must be behind the call that it answers, found none that has no result yet'],
  ['/v1/chat/completions', '{"messages":[{"role":"tool","content":"a","tool_call_id":"x"}]}', 400, 'invalid_value messages', 'messages: the message of a tool must be behind the call that it answers, found "x"'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","content":"a","tool_calls":[{}]}]}', 400, 'missing_parameter messages[0].tool_calls[0].function.name', 'messages[0].tool_calls[0].function.name must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"nope"}}]}]}', 400, 'invalid_value messages[0]', 'messages[0]: the arguments of the call of "f" must be JSON of an object, found "nope"'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"web","function":{"name":"f","arguments":"{}"}}]}]}', 400, 'invalid_value messages[0].tool_calls[0].type', 'messages[0].tool_calls[0].type must be "function", found "web"'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","tool_calls":"x"}]}', 400, 'invalid_value messages[0].tool_calls', 'messages[0].tool_calls must be a list, found "x"'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","tool_calls":[{"id":"a b","type":"function","function":{"name":"f","arguments":"{}"}}]}]}', 400, 'invalid_value messages[0]', 'messages[0]: the id of a tool call must be 1 to 128 letters, digits or _.:/-, found "a b"'],
  ['/v1/chat/completions', '{"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"","arguments":"{}"}}]}]}', 400, 'invalid_value messages[0]', 'messages[0]: the name of a called tool must be 1 to 128 letters, digits or _.:/-, found ""'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}]}', 400, 'invalid_value messages[0]', 'messages[0]: "tool_calls" of a message must be in one of role "assistant" only, found "user"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a","tool_call_id":"x"}]}', 400, 'invalid_value messages[0]', 'messages[0]: "tool_call_id" of a message must be in one of role "tool" only, found "user"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","name":"a b c","content":"a"}]}', 400, 'invalid_value messages[0]', 'messages[0]: "name" of a message must be 1 to 128 letters, digits or _.:/-, found "a b c"'],
  ['/v1/chat/completions', '{"model":"gpt-4","messages":[{"role":"user","content":"a"}]}', 404, 'model_not_found model', 'model must be one of stories, found "gpt-4"'],
  ['/v1/chat/completions', '{"model":5,"messages":[{"role":"user","content":"a"}]}', 400, 'invalid_value model', 'model must be a text, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"temperature":"x"}', 400, 'invalid_value temperature', 'temperature must be a number from 0 to 100, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"temperature":-7}', 400, 'invalid_value temperature', 'temperature must be a number from 0 to 100, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_p":"x"}', 400, 'invalid_value top_p', 'top_p must be a number from 0 to 1, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_p":-7}', 400, 'invalid_value top_p', 'top_p must be a number from 0 to 1, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_k":"x"}', 400, 'invalid_value top_k', 'top_k must be a whole number from 0 to 2147483648, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_k":-7}', 400, 'invalid_value top_k', 'top_k must be a whole number from 0 to 2147483648, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"min_p":"x"}', 400, 'invalid_value min_p', 'min_p must be a number from 0 to 1, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"min_p":-7}', 400, 'invalid_value min_p', 'min_p must be a number from 0 to 1, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repeat_penalty":"x"}', 400, 'invalid_value repeat_penalty', 'repeat_penalty must be a number from 0.01 to 100, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repeat_penalty":-7}', 400, 'invalid_value repeat_penalty', 'repeat_penalty must be a number from 0.01 to 100, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repetition_penalty":"x"}', 400, 'invalid_value repetition_penalty', 'repetition_penalty must be a number from 0.01 to 100, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repetition_penalty":-7}', 400, 'invalid_value repetition_penalty', 'repetition_penalty must be a number from 0.01 to 100, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repeat_last_n":"x"}', 400, 'invalid_value repeat_last_n', 'repeat_last_n must be a whole number from 0 to 2147483648, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"repeat_last_n":-7}', 400, 'invalid_value repeat_last_n', 'repeat_last_n must be a whole number from 0 to 2147483648, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"presence_penalty":"x"}', 400, 'invalid_value presence_penalty', 'presence_penalty must be a number from -2 to 2, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"presence_penalty":-7}', 400, 'invalid_value presence_penalty', 'presence_penalty must be a number from -2 to 2, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"frequency_penalty":"x"}', 400, 'invalid_value frequency_penalty', 'frequency_penalty must be a number from -2 to 2, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"frequency_penalty":-7}', 400, 'invalid_value frequency_penalty', 'frequency_penalty must be a number from -2 to 2, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"seed":"x"}', 400, 'invalid_value seed', 'seed must be a whole number from -9007199254740991 to 9007199254740991, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"seed":1e+30}', 400, 'invalid_value seed', 'seed must be a whole number from -9007199254740991 to 9007199254740991, found 1e+30'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"n":"x"}', 400, 'invalid_value n', 'n must be a whole number from 1 to 32, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"n":-7}', 400, 'invalid_value n', 'n must be a whole number from 1 to 32, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"max_tokens":"x"}', 400, 'invalid_value max_tokens', 'max_tokens must be a whole number from -1 to 9007199254740991, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"max_tokens":-7}', 400, 'invalid_value max_tokens', 'max_tokens must be a whole number from -1 to 9007199254740991, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"max_completion_tokens":"x"}', 400, 'invalid_value max_completion_tokens', 'max_completion_tokens must be a whole number from -1 to 9007199254740991, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"max_completion_tokens":-7}', 400, 'invalid_value max_completion_tokens', 'max_completion_tokens must be a whole number from -1 to 9007199254740991, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_logprobs":"x"}', 400, 'invalid_value top_logprobs', 'top_logprobs must be a whole number from 0 to 20, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_logprobs":-7}', 400, 'invalid_value top_logprobs', 'top_logprobs must be a whole number from 0 to 20, found -7'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stop":""}', 400, 'invalid_value stop', 'stop must be a text of 1 to 1000 characters, or a list of such, found ""'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stop":5}', 400, 'invalid_value stop', 'stop must be a text of 1 to 1000 characters, or a list of such, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stop":[5]}', 400, 'invalid_value stop[0]', 'stop[0] must be a text of 1 to 1000 characters, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stop":[""]}', 400, 'invalid_value stop[0]', 'stop[0] must be a text of 1 to 1000 characters, found ""'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stop":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]}', 400, 'invalid_value stop', 'stop must be a list of at most 16, found one of 17'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":5}', 400, 'invalid_value logit_bias', 'logit_bias must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":[]}', 400, 'invalid_value logit_bias', 'logit_bias must be an object, found []'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":{"a":1}}', 400, 'invalid_value logit_bias', 'logit_bias must be an object whose names are token ids, found "a"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":{"5":"x"}}', 400, 'invalid_value logit_bias.5', 'logit_bias.5 must be a number from -100 to 100, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":{"5":101}}', 400, 'invalid_value logit_bias.5', 'logit_bias.5 must be a number from -100 to 100, found 101'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logit_bias":{"999999":1}}', 400, 'invalid_value logit_bias', 'logit_bias: a token of logitBias (--logit-bias) must be a whole number from 0 to 4095, found "999999"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stream":"yes"}', 400, 'invalid_value stream', 'stream must be true or false, found "yes"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stream_options":5}', 400, 'invalid_value stream_options', 'stream_options must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stream_options":{"x":1}}', 400, 'unsupported_parameter stream_options.x', 'stream_options.x is not understood here, and ignoring it could change the answer: leave it out'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stream_options":{"include_usage":"a"}}', 400, 'invalid_value stream_options.include_usage', 'stream_options.include_usage must be true or false, found "a"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"logprobs":5}', 400, 'invalid_value logprobs', 'logprobs must be true or false, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"top_logprobs":3}', 400, 'invalid_value top_logprobs', 'top_logprobs must be left out unless logprobs is true, found 3'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"n":5}', 400, 'invalid_value n', 'n must be at most 4, the slots of this server, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"foo":1}', 400, 'unsupported_parameter foo', 'foo is not understood here, and ignoring it could change the answer: leave it out'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"functions":[]}', 400, 'unsupported_parameter functions', 'functions is not supported: they have become tools'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"function_call":"auto"}', 400, 'unsupported_parameter function_call', 'function_call is not supported: it has become tool_choice'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"audio":{}}', 400, 'unsupported_parameter audio', 'audio is not supported: answers are texts'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"modalities":["audio"]}', 400, 'invalid_value modalities[0]', 'modalities[0] must be "text", found "audio"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"modalities":"text"}', 400, 'invalid_value modalities', 'modalities must be a list, found "text"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"verbosity":"low"}', 400, 'unsupported_parameter verbosity', 'verbosity must be "medium", found "low": how long answers are is not to be chosen'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"grammar":"x"}', 400, 'unsupported_parameter grammar', 'grammar is not supported: use response_format with a schema or a regular expression'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"reasoning_effort":"x"}', 400, 'invalid_value reasoning_effort', 'reasoning_effort must be one of none, minimal, low, medium, high, xhigh, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"enable_thinking":true}', 400, 'invalid_value enable_thinking', 'a template variable (chat_template_kwargs) must be one that the chat template of this model uses, such as enable_thinking where it has that, found "enable_thinking"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"enable_thinking":"x"}', 400, 'invalid_value enable_thinking', 'enable_thinking must be true or false, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"chat_template_kwargs":5}', 400, 'invalid_value chat_template_kwargs', 'chat_template_kwargs must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"foo":1}}', 400, 'invalid_value chat_template_kwargs', 'a template variable (chat_template_kwargs) must be one that the chat template of this model uses, such as enable_thinking where it has that, found "foo"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"messages":1}}', 400, 'invalid_value chat_template_kwargs', 'a template variable (chat_template_kwargs) must be none that is given otherwise, found "messages"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tools":5}', 400, 'invalid_value tools', 'tools must be a list, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tools":[],"tool_choice":"required"}', 400, 'invalid_value tool_choice', 'toolChoice (tool_choice) must be none without tools, found "required"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":"required"}', 400, 'invalid_value tool_choice', 'toolChoice (tool_choice) must be none without tools, found "required"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":"x"}', 400, 'invalid_value tool_choice', 'tool_choice must be one of none, auto, required, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":5}', 400, 'invalid_value tool_choice', 'tool_choice must be none, auto, required, or {"type": "function"} with a name, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"function"}}', 400, 'missing_parameter tool_choice.function.name', 'tool_choice.function.name must be given, found nothing'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"function","function":{"name":"x"}}}', 400, 'invalid_value tool_choice', 'the tool of toolChoice (tool_choice) must be one of the tools given (none), found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"allowed_tools"}}', 400, 'invalid_value tool_choice.type', 'tool_choice.type must be "function", found "allowed_tools"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{}]}', 400, 'unsupported_parameter tools[0].type', 'tools[0].type must be "function", found nothing: tools are functions of the client'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[5]}', 400, 'invalid_value tools[0]', 'tools[0] must be an object, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"web"}]}', 400, 'unsupported_parameter tools[0].type', 'tools[0].type must be "function", found "web": tools are functions of the client'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}', 400, 'missing_parameter tools[0].function.name', 'tools[0].function.name must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{}}]}', 400, 'missing_parameter tools[0].function.name', 'tools[0].function.name must be given, found nothing'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a b"}}]}', 400, 'invalid_value tools[0]', 'tools[0]: the name of a tool must be 1 to 64 letters, digits or _.-, found "a b"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":5}}]}', 400, 'invalid_value tools[0].function.name', 'tools[0].function.name must be a text, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","parameters":5}}]}', 400, 'invalid_value tools[0].function.parameters', 'tools[0].function.parameters must be an object, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","parameters":{"type":"string"}}}]}', 400, 'invalid_value tools[0]', 'tools[0]: the parameters of the tool "a" must be a JSON Schema of type "object", found "string"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","parameters":{"not":{}}}}]}', 400, 'invalid_schema tools["a"]', 'tools["a"]: "not" of the schema must be left out, because it is not enforced; known are $ref, allOf,…'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","strict":5}}]}', 400, 'invalid_value tools[0].function.strict', 'tools[0].function.strict must be true or false, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","description":5}}]}', 400, 'invalid_value tools[0].function.description', 'tools[0].function.description must be a text, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]}', 400, 'invalid_value tools[1]', 'tools[1]: the names of tools must be different ones, found "a"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"function","function":{"name":"b"}}}', 400, 'invalid_value tool_choice', 'the tool of toolChoice (tool_choice) must be one of the tools given (a), found "b"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"parallel_tool_calls":"x"}', 400, 'invalid_value parallel_tool_calls', 'parallel_tool_calls must be true or false, found "x"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":5}', 400, 'invalid_value response_format', 'response_format must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{}}', 400, 'missing_parameter response_format.type', 'response_format.type must be given, found nothing'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"xml"}}', 400, 'invalid_value response_format.type', 'response_format.type must be one of text, json_object, json_schema, regex, found "xml"'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema"}}', 400, 'missing_parameter response_format.json_schema.schema', 'response_format.json_schema.schema must be given, found nothing'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":5}}', 400, 'invalid_value response_format.json_schema', 'response_format.json_schema must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":5}}}', 400, 'invalid_value response_format.json_schema.schema', 'response_format.json_schema.schema must be an object, found 5'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"regex"}}', 400, 'missing_parameter response_format.pattern', 'response_format.pattern must be given, found nothing'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"regex","pattern":"("}}', 400, 'invalid_schema response_format', '"pattern" of the schema must be balanced, found a group without an end at character 1'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"response_format":{"type":"regex","pattern":5}}', 400, 'invalid_value response_format.pattern', 'response_format.pattern must be a text, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"strin"}}}}', 400, 'invalid_schema response_format', '"type" of the schema must be one of null, boolean, integer, number, string, array, object, or a list of them, found "strin"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":5}}}}', 400, 'invalid_schema response_format', '"type" of the schema must be one of null, boolean, integer, number, string, array, object, or a list of them, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"not":{}}}}}', 400, 'invalid_schema response_format', '"not" of the schema must be left out, because it is not enforced; known are $ref, allOf, anyOf, oneO…'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"minLength":-1}}}}', 400, 'invalid_schema response_format', '"minLength" of the schema must be a whole number from 0 to 1048576, found -1'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"properties":5}}}}', 400, 'invalid_schema response_format', '"properties" of the schema must be an object of schemas, found 5'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"#/x"}}}}', 400, 'invalid_schema response_format', '"$ref" of the schema must be a reference to a schema of this document, found "#/x"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"http://x"}}}}', 400, 'invalid_schema response_format', '"$ref" of the schema must be a reference into this schema, such as "#/$defs/name", found "http://x"'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"enum":[]}}}}', 400, 'invalid_schema response_format', '"enum" of the schema must be a list of at least one value, found an empty list'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"string","pattern":"("}}}}', 400, 'invalid_schema response_format', '"pattern" of the schema must be balanced, found a group without an end at character 1'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"multipleOf":0}}}}', 400, 'invalid_schema response_format', '"multipleOf" of the schema must be a number above 0, found 0'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"integer","minimum":5,"maximum":4}}}}', 400, 'invalid_schema response_format', 'the schema must be satisfied by some finite value, found one that none satisfies'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"anyOf":[]}}}}', 400, 'invalid_schema response_format', '"anyOf" of the schema must be a list of schemas, found an empty list'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"allOf":[{"type":"string"},{"type":"integer"}]}}}}', 400, 'invalid_schema response_format', 'the schema must be satisfied by some finite value, found one that none satisfies'],
  ['/v1/chat/completions', '{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":false}}}', 400, 'invalid_value response_format.json_schema.schema', 'response_format.json_schema.schema must be an object, found false'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"guided_json":{},"guided_regex":"a"}', 400, 'unsupported_parameter guided_regex', 'guided_regex is not supported: guided_json is given too'],
  ['/v1/chat/completions', '{"model":"stories","messages":[{"role":"user","content":"a"}],"json_schema":5}', 400, 'invalid_value json_schema', 'json_schema must be an object, found 5'],
  ['/v1/completions', '{}', 400, 'missing_parameter prompt', 'prompt must be given, found nothing'],
  ['/v1/completions', '{"prompt":""}', 400, 'invalid_prompt prompt', 'the prompt must hold at least one token, found none: give some text, or token ids (--tokens)'],
  ['/v1/completions', '{"prompt":[]}', 400, 'invalid_value prompt', 'prompt must be a list with at least 1, found an empty one'],
  ['/v1/completions', '{"prompt":5}', 400, 'invalid_value prompt', 'prompt must be a text, token ids, or a list of them, found 5'],
  ['/v1/completions', '{"prompt":{}}', 400, 'invalid_value prompt', 'prompt must be a text, token ids, or a list of them, found {}'],
  ['/v1/completions', '{"prompt":[[]]}', 400, 'invalid_value prompt[0]', 'prompt[0] must be a list with at least 1, found an empty one'],
  ['/v1/completions', '{"prompt":[{}]}', 400, 'invalid_value prompt[0]', 'prompt[0] must be a text or a list of token ids, found {}'],
  ['/v1/completions', '{"prompt":[-1]}', 400, 'invalid_value prompt[0]', 'prompt[0] must be a whole number from 0 to 2147483648, found -1'],
  ['/v1/completions', '{"prompt":[4096]}', 400, 'invalid_prompt prompt', 'prompt: a token id must be a whole number from 0 to 4095, found 4096: check the ids against this model\'s vocabulary'],
  ['/v1/completions', '{"prompt":[1.5]}', 400, 'invalid_value prompt[0]', 'prompt[0] must be a whole number from 0 to 2147483648, found 1.5'],
  ['/v1/completions', '{"prompt":["a",5]}', 400, 'invalid_value prompt[1]', 'prompt[1] must be a text or a list of token ids, found 5'],
  ['/v1/completions', '{"prompt":[5,"a"]}', 400, 'invalid_value prompt[1]', 'prompt[1] must be a whole number from 0 to 2147483648, found "a"'],
  ['/v1/completions', '{"prompt":"a","best_of":2}', 400, 'unsupported_parameter best_of', 'best_of must be 1, found 2: several texts are not written to choose from, ask for n'],
  ['/v1/completions', '{"prompt":"a","best_of":0}', 400, 'unsupported_parameter best_of', 'best_of must be 1, found 0: several texts are not written to choose from, ask for n'],
  ['/v1/completions', '{"prompt":"a","logprobs":true}', 400, 'invalid_value logprobs', 'logprobs must be a whole number from 0 to 20, found true'],
  ['/v1/completions', '{"prompt":"a","logprobs":21}', 400, 'invalid_value logprobs', 'logprobs must be a whole number from 0 to 20, found 21'],
  ['/v1/completions', '{"prompt":"a","suffix":"b"}', 400, 'unsupported_parameter suffix', 'suffix is not supported: texts go on at their end only'],
  ['/v1/completions', '{"prompt":"a","echo":5}', 400, 'invalid_value echo', 'echo must be true or false, found 5'],
  ['/v1/completions', '{"prompt":"a","echo":true,"logprobs":1,"stream":true}', 400, 'unsupported_parameter stream', 'stream is not supported: log probabilities of the prompt come whole'],
  ['/v1/completions', '{"prompt":[""]}', 400, 'invalid_prompt prompt', 'the prompt must hold at least one token, found none: give some text, or token ids (--tokens)'],
  ['/v1/completions', '{"prompt":"a","messages":[]}', 400, 'unsupported_parameter messages', 'messages is not understood here, and ignoring it could change the answer: leave it out'],
  ['/v1/responses', '{}', 400, 'missing_parameter input', 'input must be given, found nothing'],
  ['/v1/responses', '{"input":5}', 400, 'invalid_value input', 'input must be a text or a list of items, found 5'],
  ['/v1/responses', '{"input":[]}', 400, 'invalid_value input', 'input must be a list with at least 1, found an empty one'],
  ['/v1/responses', '{"input":[{}]}', 400, 'missing_parameter input[0].role', 'input[0].role must be given, found nothing'],
  ['/v1/responses', '{"input":[{"type":"x"}]}', 400, 'invalid_value input[0].type', 'input[0].type must be one of message, function_call, function_call_output, reasoning, found "x"'],
  ['/v1/responses', '{"input":[{"role":"user"}]}', 400, 'missing_parameter input[0].content', 'input[0].content must be given, found nothing'],
  ['/v1/responses', '{"input":[{"role":"user","content":5}]}', 400, 'invalid_value input[0].content', 'input[0].content must be a text or a list of parts, found 5'],
  ['/v1/responses', '{"input":[{"role":"user","content":[{"type":"input_image"}]}]}', 400, 'unsupported_parameter input[0].content[0].type', 'input[0].content[0].type must be "input_text" or "output_text" or "text", found "input_image": models here read texts'],
  ['/v1/responses', '{"input":[{"type":"function_call"}]}', 400, 'missing_parameter input[0].name', 'input[0].name must be given, found nothing'],
  ['/v1/responses', '{"input":[{"type":"function_call","name":"a","call_id":"b","arguments":"x"}]}', 400, 'invalid_value input', 'input: the arguments of the call of "a" must be JSON of an object, found "x"'],
  ['/v1/responses', '{"input":[{"type":"function_call_output"}]}', 400, 'missing_parameter input[0].call_id', 'input[0].call_id must be given, found nothing'],
  ['/v1/responses', '{"input":[{"type":"function_call_output","call_id":"x","output":"a"}]}', 400, 'invalid_value input', 'input: the message of a tool must be behind the call that it answers, found "x"'],
  ['/v1/responses', '{"input":"a","previous_response_id":"x"}', 400, 'unsupported_parameter previous_response_id', 'previous_response_id is not supported: nothing is kept, send what was said before'],
  ['/v1/responses', '{"input":"a","background":true}', 400, 'unsupported_parameter background', 'background must be false, found true: nothing is kept'],
  ['/v1/responses', '{"input":"a","truncation":"auto"}', 400, 'unsupported_parameter truncation', 'truncation must be "disabled", found "auto": nothing is cut in silence'],
  ['/v1/responses', '{"input":"a","text":5}', 400, 'invalid_value text', 'text must be an object, found 5'],
  ['/v1/responses', '{"input":"a","text":{"format":{"type":"json_schema"}}}', 400, 'missing_parameter text.format.schema', 'text.format.schema must be given, found nothing'],
  ['/v1/responses', '{"input":"a","text":{"verbosity":"low"}}', 400, 'unsupported_parameter text.verbosity', 'text.verbosity must be "medium", found "low": how long answers are is not to be chosen'],
  ['/v1/responses', '{"input":"a","reasoning":{"effort":"x"}}', 400, 'invalid_value reasoning.effort', 'reasoning.effort must be one of none, minimal, low, medium, high, xhigh, found "x"'],
  ['/v1/responses', '{"input":"a","tools":[{"type":"web_search"}]}', 400, 'unsupported_parameter tools[0].type', 'tools[0].type must be "function", found "web_search": tools are functions of the client'],
  ['/v1/responses', '{"input":"a","max_output_tokens":"x"}', 400, 'invalid_value max_output_tokens', 'max_output_tokens must be a whole number from -1 to 9007199254740991, found "x"'],
  ['/v1/responses', '{"input":"a","text":{"format":{"type":"json_schema","name":"a","schema":{"not":{}}}}}', 400, 'invalid_schema text.format', '"not" of the schema must be left out, because it is not enforced; known are $ref, allOf, anyOf, oneO…'],
  ['/v1/responses', '{"input":"a","max_tokens":5}', 400, 'unsupported_parameter max_tokens', 'max_tokens is not understood here, and ignoring it could change the answer: leave it out'],
  ['/v1/responses', '{"input":"a","tools":[{"type":"function","name":"a","parameters":{"not":{}}}]}', 400, 'invalid_schema tools["a"]', 'tools["a"]: "not" of the schema must be left out, because it is not enforced; known are $ref, allOf,…'],
  ['/v1/responses', '{"input":"a","tools":[{"type":"function"}]}', 400, 'missing_parameter tools[0].name', 'tools[0].name must be given, found nothing'],
  ['/v1/responses', '{"input":"a","instructions":5}', 400, 'invalid_value instructions', 'instructions must be a text, found 5'],
  ['/v1/embeddings', '{}', 400, 'missing_parameter input', 'input must be given, found nothing'],
  ['/v1/embeddings', '{"input":5}', 400, 'invalid_value input', 'input must be a text or a list of token ids, found 5'],
  ['/v1/embeddings', '{"input":[]}', 400, 'invalid_value input', 'input must be a list with at least 1, found an empty one'],
  ['/v1/embeddings', '{"input":""}', 400, 'invalid_prompt input', 'input: the prompt must hold at least one token, found none: give some text, or token ids (--tokens)'],
  ['/v1/embeddings', '{"input":[""]}', 400, 'invalid_prompt input', 'input: the prompt must hold at least one token, found none: give some text, or token ids (--tokens)'],
  ['/v1/embeddings', '{"input":[[]]}', 400, 'invalid_value input[0]', 'input[0] must be a list with at least 1, found an empty one'],
  ['/v1/embeddings', '{"input":[5000]}', 400, 'invalid_prompt input', 'input: a token id must be a whole number from 0 to 4095, found 5000: check the ids against this model\'s vocabulary'],
  ['/v1/embeddings', '{"input":[[5],"a",5]}', 400, 'invalid_value input[2]', 'input[2] must be a text or a list of token ids, found 5'],
  ['/v1/embeddings', '{"input":"a","encoding_format":"x"}', 400, 'invalid_value encoding_format', 'encoding_format must be one of float, base64, found "x"'],
  ['/v1/embeddings', '{"input":"a","dimensions":5}', 400, 'unsupported_parameter dimensions', 'dimensions is not supported: vectors are as long as the model’s states'],
  ['/api/chat', '{}', 400, '', 'model must be given, found nothing'],
  ['/api/chat', '{"model":"x","messages":[{"role":"user","content":"a"}]}', 404, '', 'model must be one of stories, found "x"'],
  ['/api/chat', '{"model":"stories"}', 400, '', 'messages must be given, found nothing'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"format":5}', 400, '', 'format must be "json" or a JSON schema, found 5'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"format":"xml"}', 400, '', 'format must be "json" or a JSON schema, found "xml"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"format":{"not":{}}}', 400, '', '"not" of the schema must be left out, because it is not enforced; known are $ref, allOf, anyOf, oneO…'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"options":{"temperature":-1}}', 400, '', 'options.temperature must be a number from 0 to 100, found -1'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"options":{"mirostat":2}}', 400, '', 'options.mirostat must be 0, found 2: there is no other way to sample here'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"options":{"foo":1}}', 400, '', 'options.foo is not understood here, and ignoring it could change the answer: leave it out'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"options":5}', 400, '', 'options must be an object, found 5'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"think":"x"}', 400, '', 'think must be one of none, low, medium, high, found "x"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"think":true}', 400, '', 'reasoningEffort (reasoning_effort) must be left out, because this model does not think, found "medium"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"stream":"x"}', 400, '', 'stream must be true or false, found "x"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"","images":["x"]}]}', 400, '', 'messages[0].images[0] is not supported: models here read texts'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"developer","content":""}]}', 400, '', 'messages[0].role must be one of system, user, assistant, tool, found "developer"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"a","parameters":{"not":{}}}}]}', 400, '', 'tools["a"]: "not" of the schema must be left out, because it is not enforced; known are $ref, allOf,…'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"a","arguments":"{}"}}]}]}', 400, '', 'messages[0].tool_calls[0].function.arguments must be an object, found "{}"'],
  ['/api/chat', '{"model":"stories","messages":[{"role":"user","content":"a"}],"options":{"num_predict":-3}}', 400, '', 'options.num_predict must be a whole number from -1 to 9007199254740991, found -3'],
  ['/api/generate', '{"model":"stories","prompt":5}', 400, '', 'prompt must be a text, found 5'],
  ['/api/generate', '{"model":"stories","prompt":"a","context":[1]}', 400, '', 'context is not supported: send messages to /api/chat'],
  ['/api/generate', '{"model":"stories","prompt":"a","template":"x"}', 400, '', 'template is not supported: the model has its own'],
  ['/api/generate', '{"model":"stories","prompt":"a","images":["x"]}', 400, '', 'images[0] is not supported: models here read texts'],
  ['/api/generate', '{"model":"stories","prompt":"a","suffix":"x"}', 400, '', 'suffix is not supported: texts go on at their end only'],
  ['/api/embed', '{"model":"stories"}', 400, '', 'input must be given, found nothing'],
  ['/api/embed', '{"model":"stories","input":5}', 400, '', 'input must be a text, found 5'],
  ['/api/embed', '{"model":"stories","input":[""]}', 400, '', 'the prompt must hold at least one token, found none: give some text, or token ids (--tokens)'],
  ['/api/embed', '{"model":"x","input":"a"}', 404, '', 'model must be one of stories, found "x"'],
  ['/api/show', '{}', 400, '', 'model must be given, found nothing'],
  ['/api/show', '{"model":"x"}', 404, '', 'model must be one of stories, found "x"'],
  ['/api/embeddings', '{"model":"stories"}', 400, '', 'prompt must be given, found nothing'],
  ['/api/pull', '{"model":"a"}', 404, '', 'there is nothing at /api/pull: check the path, which ends without a slash'],
  ['/api/nope', undefined, 404, '', 'there is nothing at /api/nope: check the path, which ends without a slash'],
  ['/tokenize', '{}', 400, 'missing_parameter content', 'content must be given, found nothing'],
  ['/tokenize', '{"content":5}', 400, 'invalid_value content', 'content must be a text, found 5'],
  ['/detokenize', '{}', 400, 'missing_parameter tokens', 'tokens must be given, found nothing'],
  ['/detokenize', '{"tokens":5}', 400, 'invalid_value tokens', 'tokens must be a list, found 5'],
  ['/detokenize', '{"tokens":["a"]}', 400, 'invalid_value tokens[0]', 'tokens[0] must be a whole number from 0 to 2147483648, found "a"'],
  ['/detokenize', '{"tokens":[4096]}', 400, 'invalid_prompt tokens', 'tokens: a token id must be a whole number from 0 to 4095, found 4096: check the ids against this model\'s vocabulary'],
  ['/detokenize', '{"tokens":[-1]}', 400, 'invalid_value tokens[0]', 'tokens[0] must be a whole number from 0 to 2147483648, found -1'],
  ['/apply-template', '{}', 400, 'missing_parameter messages', 'messages must be given, found nothing'],
  ['/apply-template', '{"messages":5}', 400, 'invalid_value messages', 'messages must be a list, found 5'],
  ['/nope', '{}', 404, 'not_found', 'there is nothing at /nope: check the path, which ends without a slash'],
  ['/v1/models/x', undefined, 404, 'model_not_found model', 'model must be one of stories, found "x"'],
  ['/v1/chat/completions', undefined, 405, 'method_not_allowed', 'the method must be POST, found GET'],
  ['/health', '{}', 405, 'method_not_allowed', 'the method must be GET, found POST'],
] // biome-ignore format: a table

let server: TestServer

test.before(async () => {
  server = await startServer()
  await untilReady(server)
})

test.after(async () => {
  await server.close()
  assert.equal(server.errors, [])
})

test('every wrong request is refused in the shape of its API, by the name of what is wrong, in a sentence', async () => {
  for (const [path, body, status, codeAndParam, expected] of rows) {
    const what = `${path} ${body}`
    const answer = await ask(server, path, body)
    assert.is(answer.status, status, what)
    const { error } = answer.body
    const message = codeAndParam === '' ? error : error.message
    if (expected.endsWith('…')) assert.is(message.slice(0, expected.length - 1), expected.slice(0, -1), what)
    else assert.is(message, expected, what)
    if (codeAndParam === '') continue
    assert.is(`${error.code} ${error.param ?? ''}`.trim(), codeAndParam, what)
    assert.type(error.type, 'string')
  }
})

test('a value of the request that is wrong has a parameter; sentences are no accident', () => {
  for (const [path, , status, codeAndParam, message] of rows) {
    const [code, param] = codeAndParam.split(' ')
    const isAboutAll = code === '' || code === 'invalid_json' || (status !== 400 && code !== 'model_not_found')
    assert.is(param === undefined, isAboutAll, `${path} ${message}`)
    assert.not.match(message, /""\w|\w""|,,|undefined|\[object| {2}|found another/)
  }
})

test('a prompt that is too long is named by what holds it, in every API', async () => {
  const long = 'wood '.repeat(600)
  for (const [path, body, param] of [
    ['/v1/chat/completions', { messages: [{ role: 'user', content: long }] }, 'messages'],
    ['/v1/completions', { prompt: long }, 'prompt'],
    ['/v1/responses', { input: long }, 'input'],
    ['/v1/embeddings', { input: long }, 'input'],
  ] as const) {
    const { body: answer } = await ask(server, path, body)
    assert.is(answer.error.code, 'context_length_exceeded')
    assert.is(answer.error.param, param)
  }
  const stop = Array.from({ length: 17 }, () => 'a')
  assert.match((await ask(server, '/v1/completions', { prompt: 'a', stop })).body.error.message, 'of at most 16')
})

test.run()
