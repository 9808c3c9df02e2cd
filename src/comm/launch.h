// `ranks=N`: this program starts itself N times on this machine and looks after its copies.
#pragma once

#include <cstdint>

namespace continuo {

// Runs the program with the same arguments as ranks 0 … count-1 until all of them have ended; they
// share standard output and error. Signals sent to this process alone are passed on. When one rank
// fails, the others get some seconds to say what they miss, and are then ended. → the exit code of
// the rank that failed first, else 0. To be called before the process has threads.
int launch_ranks(int64_t count);

}  // namespace continuo
