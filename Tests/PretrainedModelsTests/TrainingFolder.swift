import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// A temporary folder with corpora, and a run of a few small steps in it.
final class TrainingFolder {
    let path: String
    var output: String { "\(path)/run" }

    init() throws {
        path = "\(TestEnvironment.temporaryFolder)/training-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// 640 characters.
    static let text = String(
        repeating: "The FBI is chasing a criminal on the run. Who runs, and who is it that they chase? ", count: 8
    ).prefix(640)

    /// Words and themselves turned around, of 1 to 4 letters.
    static let pairs = (0..<40).map { number in
        let word = (0...number % 4).map { ["a", "b", "c", "d", "e"][(number * 7 + $0 * $0 * 3) % 5] }.joined()
        return "{\"source\": \"\(word)\", \"target\": \"\(String(word.reversed()))\"}\n"
    }.joined()

    @discardableResult
    func write(_ name: String, _ text: some StringProtocol) throws -> String {
        try write(name, Array(text.utf8))
    }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = name.hasPrefix("/") ? name : "\(path)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }

    /// What is asked of a run that is small, but leaves nothing out: dropout, accumulation, clipping.
    func request(
        _ architecture: TextModelConfiguration.Architecture, onPairs: Bool = false,
        tokenizer: TokenizerChoice = .characters
    ) throws -> TrainingRequest {
        var request = TrainingRequest()
        request.corpus = [try onPairs ? write("pairs.jsonl", Self.pairs) : write("text.txt", Self.text)]
        request.architecture = architecture
        (request.width, request.layerCount) = (6, 1)
        request.headCount = architecture == .transformer ? 2 : nil
        request.contextLength = onPairs ? 11 : 9
        request.tokenizer = tokenizer
        (request.batchSize, request.accumulation, request.dropoutRate) = (2, 2, 0.25)
        (request.stepCount, request.checkpointInterval, request.validationInterval) = (7, 3, 4)
        return request
    }

    /// Begins a run, or goes on with it.
    func run(
        _ request: TrainingRequest, output: String? = nil, resumed: Bool = false
    ) throws(TrainingRunError) -> TrainingRun {
        try TrainingRun(request, output: output ?? self.output, isResumed: resumed)
    }

    /// Runs to the end, or so many steps.
    @discardableResult
    static func finish(
        _ run: consuming TrainingRun, after stepLimit: Int = .max
    ) throws(TrainingRunError) -> TrainingRun.Outcome {
        var run = run
        var count = 0
        return try run.run(shouldStop: {
            count += 1
            return count >= stepLimit
        })
    }

    func bytes(_ name: String, in output: String? = nil) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(output ?? self.output)/\(name)")))
    }

    func names(_ name: String = "") -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(output)/\(name)")) ?? []).sorted()
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(output)/\(name)") }

    /// Everything that may not depend on whether the run was stopped: of the figures, all but the speed.
    func result(in output: String? = nil) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in ["model.safetensors", "config.json", "tokenizer.json", "run.json"] {
            files[name] = try bytes(name, in: output)
        }
        let checkpoints = try CheckpointFolder("\(output ?? self.output)/checkpoints").steps()
        let newest = "checkpoints/step-" + String(format: "%08d", try #require(checkpoints.first))
        for name in ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"] {
            files["\(newest)/\(name)"] = try bytes("\(newest)/\(name)", in: output)
        }
        let lines = String(decoding: try bytes("metrics.jsonl", in: output), as: UTF8.self).split(separator: "\n")
        files["metrics.jsonl"] = Array(
            lines.map { $0.split(separator: ",").filter { !$0.contains("tokens per second") }.joined(separator: ",") }
                .joined(separator: "\n").utf8)
        return files
    }
}

/// Checks that two runs ended in the same bytes.
func expectSame(
    _ found: [String: [UInt8]], _ expected: [String: [UInt8]], _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.keys.sorted() == expected.keys.sorted(), "\(what)", sourceLocation: sourceLocation)
    for (name, bytes) in expected {
        #expect(found[name] == bytes, "\(what): \(name) differs", sourceLocation: sourceLocation)
    }
}
