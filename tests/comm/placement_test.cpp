#include "comm/placement.h"

#include <map>

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace continuo {
namespace {

using Variables = std::map<std::string, std::string>;

RankPlacement place(const Variables& variables) {
  return placement_from([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

const Variables kTorchrun = {{"TORCHELASTIC_RUN_ID", "none"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"},
                             {"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "1234"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Variables kMpich = {{"PMI_RANK", "2"},
                          {"PMI_SIZE", "4"},
                          {"MPI_LOCALRANKID", "0"},
                          {"MPI_LOCALNRANKS", "2"},
                          {"MASTER_ADDR", "10.0.0.7"}};
const Variables kSlurm = {{"SLURM_PROCID", "6"},
                          {"SLURM_STEP_NUM_TASKS", "7"},
                          {"SLURM_NTASKS", "16"},
                          {"SLURM_LOCALID", "0"},
                          {"SLURM_NODEID", "2"},
                          {"SLURM_STEP_TASKS_PER_NODE", "3(x2),1"},
                          {"SLURM_STEP_NODELIST", "gpu[03-04,9]-ib,login"},
                          {"SLURM_JOB_ID", "123456"}};

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}
Variables without(Variables base, const std::string& name) {
  base.erase(name);
  return base;
}

TEST(Placement, NoLauncherIsAProcessAlone) {
  EXPECT_TRUE(place({}).alone());
  EXPECT_EQ(place({}).launcher, Launcher::kNone);
  // A batch script is no rank of its job.
  EXPECT_TRUE(place({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}).alone());
}

TEST(Placement, ReadsTorchrun) {
  const RankPlacement p = place(kTorchrun);
  EXPECT_EQ(p.launcher, Launcher::kTorchrun);
  EXPECT_EQ(p.rank, 5);
  EXPECT_EQ(p.size, 8);
  EXPECT_EQ(p.local_rank, 1);
  EXPECT_EQ(p.local_size, 4);
  EXPECT_EQ(p.host, "node1");
  EXPECT_EQ(p.port, 1234);
  EXPECT_EQ(p.attempt, "2");
  EXPECT_TRUE(p.store_is_launchers);
  // torchrun inside of srun.
  EXPECT_EQ(place(with(kTorchrun, kSlurm)).rank, 5);
}

TEST(Placement, ReadsTheMpis) {
  const RankPlacement open = place(kOpenMpi);
  EXPECT_EQ(open.launcher, Launcher::kOpenMpi);
  EXPECT_EQ(open.rank, 1);
  EXPECT_EQ(open.size, 2);
  EXPECT_EQ(open.host, "127.0.0.1");
  EXPECT_GT(open.port, 0);
  EXPECT_FALSE(open.store_is_launchers);
  const RankPlacement mpich = place(kMpich);
  EXPECT_EQ(mpich.launcher, Launcher::kMpich);
  EXPECT_EQ(mpich.rank, 2);
  EXPECT_EQ(mpich.local_size, 2);
  EXPECT_EQ(mpich.host, "10.0.0.7");
}

TEST(Placement, ReadsSlurm) {
  const RankPlacement p = place(kSlurm);
  EXPECT_EQ(p.launcher, Launcher::kSlurm);
  EXPECT_EQ(p.rank, 6);
  EXPECT_EQ(p.size, 7) << "of the step, not of the job";
  EXPECT_EQ(p.local_rank, 0);
  EXPECT_EQ(p.local_size, 1);
  EXPECT_EQ(p.host, "gpu03-ib");
  EXPECT_EQ(p.port, 20000 + 123456 % 12000);
  EXPECT_EQ(place(with(kSlurm, {{"MASTER_ADDR", "x"}})).host, "x");
  EXPECT_EQ(place(with(kSlurm, {{"SLURM_STEP_NODELIST", "a,b"}})).host, "a");
}

TEST(Placement, WhatItWritesItReads) {
  const RankPlacement p{.launcher = Launcher::kOwn,
                        .rank = 0,
                        .size = 3,
                        .local_rank = 0,
                        .local_size = 3,
                        .port = 4321,
                        .store_socket = 7};
  Variables variables;
  for (const std::string& text : own_variables(p)) {
    const size_t equals = text.find('=');
    variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const RankPlacement read = place(variables);
  EXPECT_EQ(read.launcher, Launcher::kOwn);
  EXPECT_EQ(read.size, 3);
  EXPECT_EQ(read.port, 4321);
  EXPECT_EQ(read.store_socket, 7);
  EXPECT_FALSE(read.store_is_launchers);
}

TEST(Placement, NamesTheVariablesThatAreWrong) {
  const auto refused = [](const Variables& variables, std::initializer_list<std::string> parts) {
    test::expect_error([&] { place(variables); }, parts);
  };
  refused({{"RANK", "0"}}, {"RANK", "WORLD_SIZE"});
  refused({{"WORLD_SIZE", "2"}}, {"RANK", "WORLD_SIZE"});
  refused(with(kTorchrun, {{"RANK", "8"}}), {"RANK=8", "WORLD_SIZE=8"});
  refused(with(kTorchrun, {{"RANK", "one"}}), {"RANK=one"});
  refused(with(kTorchrun, {{"LOCAL_RANK", "4"}}), {"LOCAL_RANK=4", "LOCAL_WORLD_SIZE=4"});
  refused(without(kTorchrun, "MASTER_ADDR"), {"MASTER_ADDR", "WORLD_SIZE=8"});
  refused(without(kOpenMpi, "OMPI_COMM_WORLD_SIZE"),
          {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"});
  refused(with(kOpenMpi, {{"RANK", "0"}}), {"RANK=0", "OMPI_COMM_WORLD_RANK=1"});
  refused(with(kOpenMpi, {{"WORLD_SIZE", "9"}}), {"WORLD_SIZE=9", "OMPI_COMM_WORLD_SIZE=2"});
  refused(without(kMpich, "MASTER_ADDR"), {"PMI_SIZE=4", "MASTER_ADDR"});
  refused(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "3,x"}}), {"SLURM_STEP_TASKS_PER_NODE=3,x"});
  refused({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "node1"}},
          {"LOCAL_RANK", "LOCAL_WORLD_SIZE"});
}

}  // namespace
}  // namespace continuo
