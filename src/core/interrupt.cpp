#include "core/interrupt.h"

#include <atomic>
#include <csignal>

namespace continuo {
namespace {

// A handler can reach nothing but globals.
std::atomic<int> g_signal{0};
std::atomic<bool> g_second_kills{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void continuo_on_interrupt(int signal) {
  bool second = g_signal.exchange(signal, std::memory_order_relaxed) != 0;
  if (second && g_second_kills.load(std::memory_order_relaxed)) {
    std::signal(signal, SIG_DFL);
    // Delivered when this handler returns: the signal is blocked while it runs.
    std::raise(signal);
  }
}

void set_handler(void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void install_interrupt_handlers(InterruptOptions options) {
  g_second_kills.store(options.second_kills, std::memory_order_relaxed);
  set_handler(continuo_on_interrupt);
}

void remove_interrupt_handlers() { set_handler(SIG_DFL); }

bool interrupted() { return g_signal.load(std::memory_order_relaxed) != 0; }
void clear_interrupt() { g_signal.store(0, std::memory_order_relaxed); }
int interrupt_signal() { return g_signal.load(std::memory_order_relaxed); }

}  // namespace continuo
