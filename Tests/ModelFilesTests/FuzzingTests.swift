import FileFuzzing
import Foundation
import TestSupport
import Testing

/// The fuzzers' seeds and findings, through the functions that the fuzzers call; a finding that came back would trap.
@Suite struct `Inputs of the fuzzers of files` {
    private static let folder = "\(TestEnvironment.packageFolder)/Tests/Fixtures/fuzzing"

    @Test(arguments: FuzzTarget.files.map(\.name))
    func `are read, and so is what is like them`(name: String) throws {
        let target = try #require(FuzzTarget.files.first { $0.name == name })
        let names = try target.replay(in: Self.folder, mutationCount: 20)
        #expect(Set(target.seeds().map { "seed-\($0.name)" }).isSubset(of: names), "Scripts/fuzz --seeds writes them.")
    }

    @Test func `change when they are mutated, and by the seed alone`() throws {
        for target in FuzzTarget.files {
            let seed = try #require(target.seeds().first { !$0.bytes.isEmpty }).bytes
            func mutants() -> [[UInt8]?] {
                var random = FuzzRandom(seed: 3)
                return (0..<40).map { _ in target.mutate(seed, &random) }
            }
            #expect(mutants() == mutants(), "\(target.name)")
            #expect(mutants().contains { $0 != nil && $0 != seed }, "\(target.name)")
        }
    }
}
