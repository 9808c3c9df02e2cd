// Which code computes on which device: decided here, once, for nn knows none.
#pragma once

namespace continuo {

// The CPU's backend (or the one that CONTINUO_BACKEND names), and that of GPUs.
// Also finds wrong settings of the environment early, not on a thread of a pass. Error: one of
// them.
void install_backends();

}  // namespace continuo
