// What this process has used: the steady clock and memory.
#pragma once

namespace continuo {

// Seconds of the steady clock: only differences mean something.
double seconds_now();

// The most memory that was ever resident, bytes.
double peak_memory_bytes();

}  // namespace continuo
