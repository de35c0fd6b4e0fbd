import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// A folder of the test's own.
private final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/training-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}

private func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

@Suite struct `Training runs` {
    private let folder: TemporaryFolder
    private let corpus: String

    init() throws {
        folder = try TemporaryFolder()
        corpus = try folder.write(
            "corpus.txt", (0..<60).map { "The cat number \($0 * 7 % 60) sat on the mat.\n" }.joined())
    }

    /// A run so small that it takes no time.
    private func request(_ change: (inout TrainingRequest) -> Void = { _ in }) -> TrainingRequest {
        var request = TrainingRequest()
        request.corpus = [corpus]
        request.architecture = .gru
        (request.width, request.layerCount, request.contextLength, request.batchSize) = (8, 1, 9, 2)
        (request.stepCount, request.checkpointInterval, request.validationInterval) = (7, 2, 3)
        change(&request)
        return request
    }

    private func run(
        _ request: TrainingRequest, _ name: String, isResumed: Bool = false, stoppingAfter step: Int? = nil
    ) throws -> (outcome: TrainingRun.Outcome, notes: [String]) {
        var run = try TrainingRun(request, output: "\(folder.path)/\(name)", isResumed: isResumed)
        var reached = 0
        let outcome = try run.run(shouldStop: { reached == step }, onProgress: { reached = $0.step })
        return (outcome, run.notes)
    }

    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing was thrown"
        } catch { return "\(error)" }
    }

    @Test func `leave a model that can be loaded, its metrics and its checkpoints`() throws {
        let outcome = try run(request(), "run").outcome
        #expect(outcome.stepCount == 7 && !outcome.isInterrupted)
        #expect(outcome.loss?.isFinite == true && outcome.validationLoss?.isFinite == true)
        let model = try LanguageModel(path: "\(folder.path)/run")
        #expect(model.name == "run" && model.prompting == .text)
        #expect(model.tokenizer.vocabularySize == model.model.vocabularySize)
        var sampler = TokenSampler(temperature: 0)
        var written: [Int32] = []
        model.continuation(of: try model.promptTokens(of: "The c"), maximumCount: 5, sampler: &sampler) {
            written.append($0)
            return true
        }
        #expect(written.count == 5)
        let lines = String(decoding: try bytes("\(folder.path)/run/metrics.jsonl"), as: UTF8.self).split(
            separator: "\n")
        #expect(lines.count == 7 + 3)
        #expect(try CheckpointFolder("\(folder.path)/run/checkpoints").steps() == [7, 6])
        // A checkpoint is whole: a model by itself.
        let checkpoint = try LanguageModel(path: "\(folder.path)/run/checkpoints/step-00000006")
        #expect(checkpoint.tokenizer.fingerprint == model.tokenizer.fingerprint)
    }

    @Test(
        arguments: [1, 2, 3, 5, 6],
        [
            TextModelConfiguration.Architecture.gru, .transformer, .seq2seq, .tcn,
        ])
    func `that were stopped and resumed end in the same bytes`(
        step: Int, architecture: TextModelConfiguration.Architecture
    ) throws {
        let request = request {
            $0.architecture = architecture
            $0.dropoutRate = 0.3
            $0.accumulation = 2
        }
        _ = try run(request, "whole")
        let first = try run(request, "resumed", stoppingAfter: step).outcome
        #expect(first.isInterrupted && first.stepCount == step)
        let second = try run(request, "resumed", isResumed: true).outcome
        #expect(second.stepCount == 7 && !second.isInterrupted)
        for file in ["model.safetensors", "checkpoints/step-00000007/optimizer.safetensors", "config.json"] {
            #expect(try bytes("\(folder.path)/whole/\(file)") == bytes("\(folder.path)/resumed/\(file)"), "\(file)")
        }
        #expect(
            try metricSteps("whole") == metricSteps("resumed"), "no step is lost, and none is there twice")
    }

    /// The step of each line of metrics.
    private func metricSteps(_ name: String) throws -> [Int64] {
        try bytes("\(folder.path)/\(name)/metrics.jsonl").split(separator: UInt8(ascii: "\n")).map {
            try JSONValue(parsing: Array($0))["step"]?.integerValue ?? -1
        }
    }

    @Test func `of pairs learn the targets, and are prompted with sources`() throws {
        let pairs = (0..<40).map { #"{"source": "ab\#($0 % 10)", "target": "\#($0 % 10)ba"}"# + "\n" }.joined()
        let path = try folder.write("pairs.jsonl", pairs)
        for architecture in [TextModelConfiguration.Architecture.seq2seq, .lstm] {
            let request = request {
                $0.corpus = [path]
                $0.architecture = architecture
            }
            _ = try run(request, architecture.rawValue, stoppingAfter: 3)
            _ = try run(request, architecture.rawValue, isResumed: true)
            let model = try LanguageModel(path: "\(folder.path)/\(architecture.rawValue)")
            #expect(model.prompting == .pairs)
            #expect(model.greedyContinuation(of: try model.promptTokens(of: "ab3"), maximumCount: 4).count <= 4)
        }
    }

    @Test func `of pairs longer than the size says are resumed by the same request`() throws {
        let long = String(repeating: "abc", count: 40)
        let path = try folder.write(
            "pairs.jsonl", (0..<20).map { #"{"source": "\#(long)", "target": "\#($0)"}"# + "\n" }.joined())
        let request = request {
            $0.corpus = [path]
            ($0.contextLength, $0.size, $0.layerCount) = (nil, .tiny, 1)
        }
        _ = try run(request, "run", stoppingAfter: 3)
        #expect(try run(request, "run", isResumed: true).outcome.stepCount == 7)
        // A description that was changed by hand is refused, not run into a trap.
        let settings = "\(folder.path)/run/run.json"
        let text = String(decoding: try bytes(settings), as: UTF8.self)
        let changed = text.replacingOccurrences(of: "\"contextLength\" : 123", with: "\"contextLength\" : 2")
        #expect(changed != text, "\(text)")
        try Data(changed.utf8).write(to: URL(fileURLWithPath: settings))
        #expect(message { _ = try run(TrainingRequest(), "run", isResumed: true) }.contains("Pair 1"))
    }

    @Test func `are not begun in a folder that has one, and are begun by resuming where there is none`() throws {
        let first = try run(request(), "run", isResumed: true)
        #expect(first.outcome.stepCount == 7)
        #expect(message { _ = try run(request(), "run") }.contains("--resume"))
        // One that has ended is not trained on.
        let before = try bytes("\(folder.path)/run/model.safetensors")
        #expect(try run(request(), "run", isResumed: true).outcome.stepCount == 7)
        #expect(try bytes("\(folder.path)/run/model.safetensors") == before)
    }

    @Test func `say what differs when they are resumed otherwise`() throws {
        _ = try run(request(), "run", stoppingAfter: 3)
        func problem(_ change: (inout TrainingRequest) -> Void) -> String {
            message { _ = try run(request(change), "run", isResumed: true) }
        }
        #expect(problem { $0.architecture = .lstm }.contains("model: gru there, lstm asked for"))
        #expect(
            problem { $0.tokenizer = .bytePairs(vocabularySize: 300) }.contains("tokenizer: characters there, bpe:300"))
        #expect(problem { $0.width = 16 }.contains("width: 8 there, 16 asked for"))
        let other = try folder.write("other.txt", String(repeating: "Something else. ", count: 100))
        #expect(problem { $0.corpus = [other] }.contains("corpus (fingerprint)"))
        // What is left open does not differ, the corpus included.
        #expect(try run(TrainingRequest(), "run", isResumed: true).outcome.stepCount == 7)
    }

    @Test func `do not learn from runs that lie in their corpus`() throws {
        let request = request { $0.corpus = [folder.path] }
        _ = try run(request, "run", stoppingAfter: 3)
        #expect(try run(request, "run", isResumed: true).outcome.stepCount == 7)
    }

    @Test func `take as many tokens as the corpus supports where nobody says how many`() throws {
        // Large enough for 1,024 tokens, but with not enough to merge.
        let dull = try folder.write("dull.txt", String(repeating: "one two three four five. ", count: 9000))
        _ = try run(request { $0.corpus = [dull] }, "run")
        #expect(257..<1024 ~= (try LanguageModel(path: "\(folder.path)/run").tokenizer.vocabularySize))
        #expect(
            message {
                _ = try run(
                    request {
                        $0.corpus = [dull]
                        $0.tokenizer = .bytePairs(vocabularySize: 1024)
                    }, "other")
            }.contains("1024"))
    }

    @Test func `are not begun where a model or checkpoints lie without a run`() throws {
        _ = try run(request(), "run")
        try FileManager.default.removeItem(atPath: "\(folder.path)/run/run.json")
        #expect(message { _ = try run(request(), "run") }.contains("run.json"))
    }

    @Test func `need their corpus to be resumed`() throws {
        _ = try run(request(), "run", stoppingAfter: 3)
        try FileManager.default.removeItem(atPath: corpus)
        #expect(message { _ = try run(TrainingRequest(), "run", isResumed: true) }.contains("corpus.txt"))
    }

    @Test func `fall back to the checkpoint before a damaged one, and say so`() throws {
        _ = try run(request(), "whole")
        _ = try run(request(), "run", stoppingAfter: 5)
        let damaged = "\(folder.path)/run/checkpoints/step-00000005/model.safetensors"
        try Data(try bytes(damaged).dropLast(9)).write(to: URL(fileURLWithPath: damaged))
        let (outcome, notes) = try run(request(), "run", isResumed: true)
        #expect(outcome.stepCount == 7)
        #expect(notes.contains { $0.contains("skipped") && $0.contains("step-00000005") }, "\(notes)")
        #expect(notes.contains("Going on after step 4."), "\(notes)")
        #expect(
            try bytes("\(folder.path)/whole/model.safetensors") == bytes("\(folder.path)/run/model.safetensors"))
    }

    @Test func `begin anew where every checkpoint is damaged`() throws {
        _ = try run(request(), "run", stoppingAfter: 5)
        for step in try CheckpointFolder("\(folder.path)/run/checkpoints").steps() {
            try FileManager.default.removeItem(
                atPath: "\(folder.path)/run/checkpoints/step-0000000\(step)/manifest.json")
        }
        let (outcome, notes) = try run(request(), "run", isResumed: true)
        #expect(outcome.stepCount == 7)
        #expect(notes.contains { $0.contains("begins at its first step") })
    }

    @Test func `refuse what cannot be learned from`() throws {
        func problem(_ change: (inout TrainingRequest) -> Void) -> String {
            message { _ = try run(request(change), UUID().uuidString) }
        }
        let empty = try folder.write("empty.txt", "")
        let short = try folder.write("short.txt", "abc")
        let binary = try folder.write("binary.txt", "a\0b")
        let pairs = try folder.write(
            "pairs.jsonl", #"{"source": "a", "target": "\#(String(repeating: "b", count: 5000))"}"#)
        #expect(problem { $0.corpus = [empty] }.contains("empty"))
        #expect(problem { $0.corpus = [short] }.contains("one window of context 9 needs 10"))
        #expect(problem { $0.corpus = [binary] }.contains("binary.txt"))
        #expect(problem { $0.corpus = ["\(folder.path)/absent"] }.contains("absent"))
        #expect(problem { $0.corpus = [pairs] }.contains("Pair 1 takes 5002 tokens"))
        #expect(problem { $0.tokenizer = .bytePairs(vocabularySize: 50_000) }.contains("50000"))
        #expect(
            problem {
                $0.architecture = .transformer
                $0.headCount = 3
            }.contains("3 heads do not divide the width 8"))
        #expect(problem { $0.similarity = .cosine }.contains("no similarity to choose"))
        #expect(problem { $0.learningRate = -1 }.contains("learning rate"))
        #expect(message { _ = try run(request(), "corpus.txt") } != "nothing was thrown")
    }

    @Test func `stop at a loss that is no number, and the last checkpoint stands`() throws {
        let problem = message {
            _ = try run(
                request {
                    $0.optimizer = .sgd
                    $0.learningRate = 1e30
                    $0.maximumGradientNorm = 0
                    $0.schedule = .constant
                    $0.checkpointInterval = 1
                }, "run")
        }
        #expect(problem.contains("training went astray") && problem.contains("checkpoint"), "\(problem)")
        #expect(try !CheckpointFolder("\(folder.path)/run/checkpoints").steps().isEmpty)
    }

    @Test func `keep back nothing of a corpus of one window, and say so`() throws {
        let short = try folder.write("short.txt", "abcdefghijklm")
        let (outcome, notes) = try run(request { $0.corpus = [short] }, "run")
        #expect(outcome.validationLoss == nil)
        #expect(notes.contains { $0.contains("too short to keep a part") })
    }
}

@Suite struct `Folders of trained models` {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        var request = TrainingRequest()
        request.corpus = [try folder.write("corpus.txt", String(repeating: "The cat sat on the mat. ", count: 30))]
        request.architecture = .lstm
        (request.width, request.layerCount, request.contextLength, request.stepCount) = (8, 1, 9, 2)
        var run = try TrainingRun(request, output: "\(folder.path)/model", isResumed: false)
        _ = try run.run()
    }

    private func load() throws -> LanguageModel { try LanguageModel(path: "\(folder.path)/model") }

    @Test func `are read from the newest checkpoint before the run has ended`() throws {
        try FileManager.default.removeItem(atPath: "\(folder.path)/model/model.safetensors")
        #expect(try load().model.vocabularySize > 0 && load().notes.isEmpty)
        let newest = "\(folder.path)/model/checkpoints/step-00000002/model.safetensors"
        try FileManager.default.copyItem(
            atPath: "\(folder.path)/model/checkpoints/step-00000002",
            toPath: "\(folder.path)/model/checkpoints/step-00000009")
        // A copy is not the checkpoint of its name: it is skipped, and that is said.
        #expect(try load().notes.first?.contains("skipped") == true)
        try Data(try bytes(newest).dropLast(5)).write(to: URL(fileURLWithPath: newest))
        #expect(throws: PretrainedModelError.self) { try load() }
        try FileManager.default.removeItem(atPath: "\(folder.path)/model/checkpoints")
        #expect(throws: PretrainedModelError.self) { try load() }
    }

    @Test(arguments: ["config.json", "tokenizer.json", "model.safetensors"])
    func `that lack a file or hold a damaged one are refused, never trusted`(name: String) throws {
        let path = "\(folder.path)/model/\(name)"
        let whole = try bytes(path)
        var generator = SeededGenerator(seed: 11)
        // The last byte of a JSON file is a line's end.
        for count in [0, 1, whole.count / 2, whole.count - 2] {
            try Data(whole.prefix(count)).write(to: URL(fileURLWithPath: path))
            #expect(throws: PretrainedModelError.self, "\(count) bytes") { try load() }
        }
        // A change may leave another valid file; nothing may trap.
        for _ in 0..<100 {
            let mutated = generator.mutation(of: whole, in: 0..<min(whole.count, 2000))
            try Data(mutated).write(to: URL(fileURLWithPath: path))
            do { _ = try load() } catch { #expect(error is PretrainedModelError) }
        }
        try FileManager.default.removeItem(atPath: path)
        if name != "model.safetensors" { #expect(throws: PretrainedModelError.self) { try load() } }
    }

    @Test(
        arguments: [
            (#""width":8"#, #""width":65536"#), (#""layerCount":1"#, #""layerCount":1000"#),
            (#""vocabularySize":"#, #""vocabularySize":9"#), (#""architecture":"lstm""#, #""architecture":"gpt""#),
            (#""dropoutRate":"#, #""dropoutRate":9"#), (#""version":1"#, #""version":2"#),
            (#""headCount":"#, #""headCount":-"#), (#""architecture":"lstm""#, #""architecture":"gru""#),
        ])
    func `whose description does not fit the parameters are refused`(part: String, change: String) throws {
        let path = "\(folder.path)/model/config.json"
        let text = String(decoding: try bytes(path), as: UTF8.self)
        #expect(text.contains(part), "\(text)")
        try Data(text.replacingOccurrences(of: part, with: change).utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: PretrainedModelError.self) { try load() }
    }
}
