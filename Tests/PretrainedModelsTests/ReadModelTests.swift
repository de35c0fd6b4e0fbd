import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// Models whose files are read, not mapped.
@Suite struct `Without mapping` {
    @Test func `models compute on when their files are cut off`() throws {
        let folder = "\(TestEnvironment.temporaryFolder)/read-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try TinyBERT().write(to: folder, fileCount: 2)
        try TinyBERT().writeSentenceFiles(to: folder)
        let file = "\(folder)/tiny.gguf"
        try Data(TinyLlama().contents.bytes).write(to: URL(fileURLWithPath: file))

        let embedder = try TextEmbedder(folder: folder, mapped: false)
        let model = try LanguageModel(path: file, mapped: false)
        let expected = try TextEmbedder(folder: folder).embedding(of: "the cat")
        let greedy = try LanguageModel(path: file).greedyContinuation(of: [5, 6, 7], maximumCount: 9)
        for name in try FileManager.default.contentsOfDirectory(atPath: folder)
        where name.hasSuffix("s") || name.hasSuffix("f") {
            try FileHandle(forUpdating: URL(fileURLWithPath: "\(folder)/\(name)")).truncate(atOffset: 0)
        }
        #expect(try embedder.embedding(of: "the cat") == expected)
        #expect(model.greedyContinuation(of: [5, 6, 7], maximumCount: 9) == greedy)
    }
}

/// Several texts continued side by side.
@Suite struct `Continuations` {
    @Test func `depend on neither neighbours nor their number, and are those of one text alone`() throws {
        let model = try LanguageModel(TinyLlama().contents.file(path: "/models/tiny.gguf"))
        var random = SeededGenerator(seed: 3)
        let prompts: [[Int32]] = (0..<11).map { index in
            (0..<(1 + index * 3 % 7)).map { _ in Int32.random(in: 2..<200, using: &random) }
        }
        let samplers = prompts.indices.map { TokenSampler(temperature: 2, topCount: 40, seed: UInt64($0)) }
        let together = model.continuations(of: prompts, maximumCount: 20, samplers: samplers)
        for index in prompts.indices {
            let alone = model.continuations(
                of: [prompts[index]], maximumCount: 20, samplers: [samplers[index]])
            #expect(alone == [together[index]], "\(index)")
            var sampler = samplers[index]
            var expected: [Int32] = []
            model.continuation(of: prompts[index], maximumCount: 20, sampler: &sampler, chunkLength: 1) {
                expected.append($0)
                return true
            }
            #expect(together[index] == expected, "\(index)")
        }
        #expect(model.continuations(of: [], maximumCount: 5, samplers: []).isEmpty)
        #expect(model.continuations(of: [[5]], maximumCount: 0, samplers: [samplers[0]]) == [[]])
    }
}
