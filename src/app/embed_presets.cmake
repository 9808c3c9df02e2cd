# Writes OUTPUT, the source that defines presets() of presets.h, from the YAML files of DIRECTORY.
file(GLOB files ${DIRECTORY}/*.yaml)
list(SORT files)
set(entries "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND entries "    {\"${name}\", R\"yaml(${text})yaml\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"app/presets.h\"

namespace continuo {
namespace {

constexpr Preset kPresets[] = {
${entries}};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

}  // namespace continuo
")
