// Turns SIGINT and SIGTERM into a flag that long loops look at, so that they can save and leave in
// order. Knows nothing about what is interrupted.
#pragma once

namespace continuo {

struct InterruptOptions {
  // A second SIGINT or SIGTERM before clear_interrupt() ends the process at once, as if it had
  // never been caught.
  bool second_kills = true;
};

// Process-wide; may be called again with other options. System calls in progress are restarted.
void install_interrupt_handlers(InterruptOptions options = {});
// Back to the default behaviour of both signals.
void remove_interrupt_handlers();

// True from the first SIGINT or SIGTERM until clear_interrupt(). Cheap: one relaxed load.
bool interrupted();
void clear_interrupt();
// The signal that set the flag, 0 when it is not set.
int interrupt_signal();

}  // namespace continuo
