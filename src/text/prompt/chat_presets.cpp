#include "text/prompt/chat_presets.h"

#include <algorithm>
#include <vector>

#include <fmt/ranges.h>

#include "core/error.h"
#include "core/suggest.h"

namespace continuo {
namespace {

constexpr ChatPreset kPresets[] = {
    {"alpaca",
     R"({%- set intro = 'Below is an instruction that describes a task. Write a response that appropriately completes the request.' -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set intro = '' -%}
{{ message['content'] + '\n\n' }}
{%- elif message['role'] == 'user' -%}
{%- if loop.first -%}
{{ intro + '\n\n' }}
{%- endif -%}
{{ '### Instruction:\n' + message['content'] + '\n\n' }}
{%- else -%}
{{ '### Response:\n' + message['content'] + eos_token }}
{%- if not loop.last -%}
{{ '\n\n' }}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '### Response:\n' }}
{%- endif -%})",
     ""},
    {"chatml",
     R"({%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\n' }}
{%- endif -%})",
     "<|im_start|> <|im_end|>"},
    {"gemma",
     R"({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set ns.system = message['content'] + '\n\n' -%}
{%- else -%}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{ '<start_of_turn>' + role + '\n' + (ns.system if role == 'user' else '') + message['content'] | trim + '<end_of_turn>\n' }}
{%- set ns.system = '' -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<start_of_turn>model\n' }}
{%- endif -%})",
     "<start_of_turn> <end_of_turn>"},
    {"llama2",
     R"({%- set ns = namespace(system='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set ns.system = '<<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' -%}
{%- elif message['role'] == 'user' -%}
{{ bos_token + '[INST] ' + ns.system + message['content'] | trim + ' [/INST]' }}
{%- set ns.system = '' -%}
{%- else -%}
{{ ' ' + message['content'] | trim + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%})",
     ""},
    {"llama3",
     R"({{- bos_token -}}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif -%})",
     "<|start_header_id|> <|end_header_id|> <|eot_id|>"},
    {"mistral",
     R"({{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set ns.system = message['content'] + '\n\n' -%}
{%- elif message['role'] == 'user' -%}
{{ '[INST] ' + ns.system + message['content'] + ' [/INST]' }}
{%- set ns.system = '' -%}
{%- else -%}
{{ ' ' + message['content'] + eos_token }}
{%- endif -%}
{%- endfor -%})",
     ""},
    {"phi3",
     R"({%- for message in messages -%}
{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|assistant|>\n' }}
{%- endif -%})",
     "<|system|> <|user|> <|assistant|> <|end|>"},
    {"zephyr",
     R"({%- for message in messages -%}
{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|assistant|>\n' }}
{%- endif -%})",
     ""},
};

}  // namespace

std::span<const ChatPreset> chat_presets() { return kPresets; }

std::string chat_preset_names() {
  std::vector<std::string_view> names;
  for (const ChatPreset& preset : kPresets) names.push_back(preset.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

const ChatPreset& find_chat_preset(const std::string& name) {
  const auto* found = std::ranges::find(kPresets, name, &ChatPreset::name);
  if (found != std::end(kPresets)) return *found;
  std::vector<std::string> names{std::string(kPlainChat), std::string(kBaseChat)};
  for (const ChatPreset& preset : kPresets) names.emplace_back(preset.name);
  const auto close = closest_name(name, names);
  throw Error(fmt::format("chat: there is no chat template '{}'", name),
              close ? fmt::format("did you mean {}?", *close)
                    : fmt::format("there are plain, base, {}", chat_preset_names()));
}

}  // namespace continuo
