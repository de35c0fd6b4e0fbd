import FileFuzzing
import ModelFuzzing
import TestSupport
import Testing

/// The fuzzers' seeds and findings, through the functions that the fuzzers call; a finding that came back would trap.
@Suite(.serialized) struct `Inputs of the fuzzers of models` {
    private static let folder = "\(TestEnvironment.packageFolder)/Tests/Fixtures/fuzzing"

    @Test(arguments: FuzzTarget.models.map(\.name))
    func `are read, and so is what is like them`(name: String) throws {
        let target = try #require(FuzzTarget.models.first { $0.name == name })
        let names = try target.replay(in: Self.folder, mutationCount: 10)
        #expect(Set(target.seeds().map { "seed-\($0.name)" }).isSubset(of: names), "Scripts/fuzz --seeds writes them.")
    }
}
