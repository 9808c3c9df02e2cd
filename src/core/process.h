// What this process has used, and on what: the steady clock, memory, the processor.
#pragma once

#include <string>

namespace continuo {

// Seconds of the steady clock: only differences mean something.
double seconds_now();

// The most memory that was ever resident, bytes.
double peak_memory_bytes();
// What is resident now; 0 where the system does not say.
double resident_memory_bytes();

// Gives memory that was freed back to the system, where the C library would keep it: worth it once
// something large has been made of much that is gone.
void return_freed_memory();

// The processor as the system calls it ("AMD EPYC 9R14"); "unknown" where it does not say.
std::string cpu_name();

}  // namespace continuo
