import Testing

@testable import Workloads

/// What is timed: that it is checked before, and named as others are.
@Suite struct WorkloadsTests {
    @Test func `every name says one thing`() {
        let names = WorkloadSubject.allCases.flatMap(\.workloads).map(\.name)
        #expect(Set(names).count == names.count)
        for name in [
            "attention float32 b1 h12 g12 q512 k512 d64 causal",
            "attention bfloat16 b1 h9 g3 q1024 k1024 d64 causal",
            "attention float32 b1 h8 g8 q2048 k2048 d128 causal forward+backward", "decode bfloat16 h9 g3 k32768 d64",
            "gemm float32 m128 n1536 k384", "recurrent LSTM b32 t100 h512", "train Transformer v4096 d256 b16 t128",
            "embed MiniLM bfloat16 b32 t128", "prefill SmolLM2-135M Q4_1 t1024", "generate SmolLM2-135M Q4_1",
        ] {
            #expect(names.contains(name), "\(name) is not timed.")
        }
    }

    @Test func `a wrong result is not timed`() throws {
        try Workload.check("work", [1, 2], [1, 2.5], tolerance: 0.5)
        for (found, expected) in [([1, 2], [1, 2.6]), ([1], [1, 2]), ([.nan], [1]), ([1], [.nan])] {
            let error = #expect(throws: WorkloadError.self) {
                try Workload.check("work", found, expected, tolerance: 0.5)
            }
            #expect(error?.description.contains("'work' computes a wrong result") == true)
        }
    }

    @Test func `the checks pass on small work`() throws {
        // Training steps take a minute in debug, and the model is not everywhere.
        #if DEBUG
            let (subjects, count): ([WorkloadSubject], Int) = ([.attention, .decode, .gemm, .recurrent], 1)
        #else
            let (subjects, count) = (WorkloadSubject.allCases.filter { $0 != .model && $0 != .embed }, 3)
        #endif
        for subject in subjects {
            for workload in subject.workloads.sorted(by: { $0.amount < $1.amount }).prefix(count) {
                try workload.prepared()()
            }
        }
    }

    @Test func `the median of at least five runs is returned`() throws {
        nonisolated(unsafe) var runCount = 0
        let workload = Workload("counting", bound: .float32, amount: 1) { { runCount += 1 } }
        #expect(try workload.seconds(running: .zero) >= 0)
        #expect(runCount == 7)
    }
}
