import Attention
import Foundation
import ModelFiles
import SequenceModels
import TestSupport
import Testing

@testable import PretrainedModels

#if canImport(Glibc)
    import Glibc
#endif

/// Which model on which corpus.
struct RunCase: Sendable, CustomTestStringConvertible {
    let architecture: TextModelConfiguration.Architecture
    var onPairs = false
    var tokenizer = TokenizerChoice.characters
    var testDescription: String { "\(architecture.rawValue) on \(onPairs ? "pairs" : "text"), \(tokenizer)" }

    static let all =
        TextModelConfiguration.Architecture.allCases.map { RunCase(architecture: $0) }
        + [.seq2seq, .lstm, .transformer].map { RunCase(architecture: $0, onPairs: true) }

    /// Those that are stopped at every step.
    static let some = [
        RunCase(architecture: .transformer, tokenizer: .bytePairs(vocabularySize: 262)), RunCase(architecture: .gru),
        RunCase(architecture: .seq2seq, onPairs: true), RunCase(architecture: .lstm, onPairs: true),
    ]
}

/// The error that a body throws, if it does.
private func failure(_ body: () throws -> Void) -> TrainingRunError? {
    do {
        try body()
        return nil
    } catch {
        return error as? TrainingRunError
    }
}

@Suite struct `Training runs` {
    private let folder: TrainingFolder

    init() throws { folder = try TrainingFolder() }

    // MARK: - To the end

    @Test(arguments: RunCase.all) func `leave a model and how it came about`(example: RunCase) throws {
        let request = try folder.request(
            example.architecture, onPairs: example.onPairs, tokenizer: example.tokenizer)
        var run = try folder.run(request)
        #expect(run.notes == [])
        var progress: [TrainingRun.Progress] = []
        let outcome = try run.run(onProgress: { progress.append($0) })
        #expect(
            folder.names() == [
                "checkpoints", "config.json", "events", "metrics.jsonl", "model.safetensors", "run.json",
                "tokenizer.json",
            ])
        #expect(folder.names("checkpoints") == ["step-00000006", "step-00000007"])
        #expect(folder.names("events").count == 1)
        #expect(outcome.stepCount == 7 && !outcome.isInterrupted)
        #expect(outcome.loss == progress.last?.loss)
        #expect(outcome.validationLoss == progress.last?.validationLoss && outcome.validationLoss != nil)
        #expect(progress.map(\.step) == Array(1...7))
        #expect(progress.last?.share == 1 && progress.last?.secondsLeft == 0)
        #expect(progress.map { $0.validationLoss == nil } == [true, true, true, false, false, false, false])
        // A line per step, and one per validation.
        let lines = try String(decoding: folder.bytes("metrics.jsonl"), as: UTF8.self).split(separator: "\n")
            .map { try JSONValue(parsing: Array($0.utf8)) }
        #expect(lines.compactMap { $0["step"]?.integerValue } == [1, 2, 3, 4, 4, 5, 6, 7, 7])
        #expect(lines.compactMap { $0["training/loss"]?.doubleValue } == progress.map(\.loss))
        #expect(lines.compactMap { $0["validation/loss"]?.doubleValue }.last == outcome.validationLoss)
        // The last checkpoint is the model.
        #expect(
            try folder.bytes("model.safetensors") == folder.bytes("checkpoints/step-00000007/model.safetensors"))
        let model = try LanguageModel(path: folder.output)
        #expect(model.notes == [])
        // A checkpoint is whole: a model by itself.
        let checkpoint = try LanguageModel(path: "\(folder.output)/checkpoints/step-00000006")
        #expect(checkpoint.tokenizer.fingerprint == model.tokenizer.fingerprint)
        #expect(model.model.parameterCount == run.parameterCount)
        #expect(model.prompting == (example.onPairs ? .pairs : .text))
        #expect(model.name == "run")
    }

    @Test func `are functions of the settings and the corpus, whatever the number of threads`() throws {
        let request = try folder.request(.gru)
        try TrainingFolder.finish(try folder.run(request))
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        ComputeThreads.count = before == 1 ? 2 : 1
        let second = "\(folder.path)/second"
        try TrainingFolder.finish(try folder.run(request, output: second))
        expectSame(try folder.result(in: second), try folder.result(), "the second run")
        var other = request
        other.seed = 2
        let third = "\(folder.path)/third"
        try TrainingFolder.finish(try folder.run(other, output: third))
        #expect(try folder.bytes("model.safetensors", in: third) != folder.bytes("model.safetensors"))
    }

    @Test func `end after some minutes as well`() throws {
        var request = try folder.request(.rnn)
        (request.stepCount, request.minutes) = (nil, 1e-4)
        let outcome = try TrainingFolder.finish(try folder.run(request))
        #expect(outcome.stepCount > 0 && !outcome.isInterrupted)
        #expect(folder.names().contains("model.safetensors"))
        let newest = try #require(folder.names("checkpoints").last)
        let state = try JSONValue(parsing: folder.bytes("checkpoints/\(newest)/state.json"))
        #expect(state["elapsedSeconds"]?.doubleValue ?? 0 >= 0.006)
        // The time is over for whoever resumes.
        #expect(try TrainingFolder.finish(try folder.run(request, resumed: true)).stepCount == outcome.stepCount)
    }

    @Test func `keep back a tenth, or a window, or say that there is none`() throws {
        var request = try folder.request(.cnn)
        var run = try folder.run(request)
        // 640 characters and the end.
        #expect(run.tokenCount == 641 - 64)
        request.corpus = [try folder.write("short.txt", "abcdefghijklmnopqrstuvwx")]
        // 25 tokens: one window of 10 is kept back.
        run = try folder.run(request, output: "\(folder.path)/a")
        #expect(run.tokenCount == 15 && run.notes == [])
        request.corpus = [try folder.write("short.txt", "abcdefghijklmnopqr")]
        run = try folder.run(request, output: "\(folder.path)/b")
        #expect(run.tokenCount == 19)
        #expect(run.notes.count == 1 && run.notes[0].contains("no validation loss"))
        #expect(try run.run().validationLoss == nil)
        request = try folder.request(.seq2seq, onPairs: true)
        request.corpus = [try folder.write("one.jsonl", #"{"source": "a", "target": "b"}"#)]
        run = try folder.run(request, output: "\(folder.path)/c")
        #expect(run.tokenCount == 2 && run.notes.count == 1)
        #expect(try run.run().validationLoss == nil)
    }

    @Test func `make room for the longest pair, unless told how much there is`() throws {
        var request = try folder.request(.lstm, onPairs: true)
        request.corpus = [
            try folder.write("pairs.jsonl", "{\"source\": \"abcdefgh\", \"target\": \"abcd\"}\n" + TrainingFolder.pairs)
        ]
        (request.contextLength, request.size, request.stepCount) = (nil, .tiny, 1)
        #expect(try folder.run(request, output: "\(folder.path)/a").settings.contextLength == 64)
        request.corpus = [
            try folder.write(
                "pairs.jsonl",
                "{\"source\": \"\(String(repeating: "ab", count: 40))\", \"target\": \"abc\"}\n" + TrainingFolder.pairs)
        ]
        let run = try folder.run(request)
        #expect(run.settings.contextLength == 84)
        // The same words go on with it, though they name a size of 64.
        try TrainingFolder.finish(run)
        #expect(try TrainingFolder.finish(try folder.run(request, resumed: true)).stepCount == 1)
        request.contextLength = 83
        guard
            case .pairTooLong(number: 1, tokenCount: 84, contextLength: 83)? = failure({
                _ = try folder.run(request, output: "\(folder.path)/b")
            })
        else {
            Issue.record("A pair of 84 tokens was taken for 83.")
            return
        }
    }

    // MARK: - Stopped and resumed

    @Test(arguments: RunCase.some)
    func `stopped after any step, end in the same bytes`(example: RunCase) throws {
        let request = try folder.request(
            example.architecture, onPairs: example.onPairs, tokenizer: example.tokenizer)
        try TrainingFolder.finish(try folder.run(request))
        let expected = try folder.result()
        for step in 1...6 {
            let output = "\(folder.path)/stopped-\(step)"
            let outcome = try TrainingFolder.finish(try folder.run(request, output: output), after: step)
            #expect(outcome.isInterrupted && outcome.stepCount == step)
            #expect(!FileManager.default.fileExists(atPath: "\(output)/model.safetensors"))
            // What there is can be used already.
            #expect(try LanguageModel(path: output).model.parameterCount > 0)
            // All that is left open is as it was.
            var rest = TrainingRequest()
            if step % 2 == 0 { rest = request }
            let run = try folder.run(rest, output: output, resumed: true)
            #expect(run.notes == ["Going on after step \(step)."])
            #expect(try !TrainingFolder.finish(run).isInterrupted)
            expectSame(try folder.result(in: output), expected, "stopped after step \(step)")
        }
    }

    @Test(arguments: RunCase.all)
    func `stopped, and cut off after the last checkpoint, end in the same bytes`(example: RunCase) throws {
        let request = try folder.request(example.architecture, onPairs: example.onPairs)
        try TrainingFolder.finish(try folder.run(request))
        let expected = try folder.result()
        let output = "\(folder.path)/killed"
        try TrainingFolder.finish(try folder.run(request, output: output), after: 5)
        // As if it had been killed: the figures go on after step 3, but there is no checkpoint of it.
        try FileManager.default.removeItem(atPath: "\(output)/checkpoints/step-00000005")
        let run = try folder.run(request, output: output, resumed: true)
        #expect(run.notes == ["Going on after step 3."])
        try TrainingFolder.finish(run)
        expectSame(try folder.result(in: output), expected, "killed after step 5")
    }

    @Test func `stopped again and again, end in the same bytes`() throws {
        var request = try folder.request(.transformer)
        request.optimizer = .sgd
        try TrainingFolder.finish(try folder.run(request))
        let expected = try folder.result()
        let output = "\(folder.path)/stopped"
        var outcome = try TrainingFolder.finish(try folder.run(request, output: output, resumed: true), after: 1)
        var count = 1
        while outcome.isInterrupted {
            outcome = try TrainingFolder.finish(try folder.run(request, output: output, resumed: true), after: 1)
            count += 1
        }
        #expect(count == 7)
        expectSame(try folder.result(in: output), expected, "stopped after each step")
        // Once more: there is nothing left to do.
        outcome = try TrainingFolder.finish(try folder.run(TrainingRequest(), output: output, resumed: true))
        #expect(outcome.stepCount == 7 && outcome.loss == nil && outcome.validationLoss != nil)
        expectSame(try folder.result(in: output), expected, "resumed at the end")
    }

    @Test func `may be measured and saved in other intervals when they go on`() throws {
        let request = try folder.request(.lstm)
        try TrainingFolder.finish(try folder.run(request))
        let output = "\(folder.path)/stopped"
        try TrainingFolder.finish(try folder.run(request, output: output), after: 2)
        var rest = TrainingRequest()
        (rest.checkpointInterval, rest.validationInterval) = (1, 1)
        let run = try folder.run(rest, output: output, resumed: true)
        #expect(run.settings.checkpointInterval == 1 && run.settings.validationInterval == 1)
        try TrainingFolder.finish(run)
        #expect(try folder.bytes("model.safetensors", in: output) == folder.bytes("model.safetensors"))
    }

    @Test func `are not begun where one is, nor beside the remains of one`() throws {
        let request = try folder.request(.rnn)
        try TrainingFolder.finish(try folder.run(request), after: 2)
        guard case .folderHasRun(folder.output)? = failure({ _ = try folder.run(request) }) else {
            Issue.record("A run was begun over another.")
            return
        }
        try folder.remove("run.json")
        for resumed in [false, true] {
            guard
                case .unusableFolder(folder.output, let reason)? = failure({
                    _ = try folder.run(request, resumed: resumed)
                })
            else {
                Issue.record("A run was begun beside another's checkpoints.")
                continue
            }
            #expect(reason == "it holds checkpoints, but no run.json")
        }
        try folder.remove("checkpoints")
        try folder.write("run/model.safetensors", "a model of somebody else")
        #expect(failure { _ = try folder.run(request) }?.description.contains("holds a model, but no run.json") == true)
        #expect(try folder.bytes("model.safetensors") == Array("a model of somebody else".utf8))
    }

    // MARK: - Other settings

    @Test func `say which setting differs`() throws {
        let request = try folder.request(.transformer)
        try TrainingFolder.finish(try folder.run(request), after: 2)
        let changes: [(name: String, stored: String, requested: String, change: (inout TrainingRequest) -> Void)] = [
            ("model", "transformer", "lstm", { ($0.architecture, $0.headCount) = (.lstm, nil) }),
            ("tokenizer", "characters", "bpe:300", { $0.tokenizer = .bytePairs(vocabularySize: 300) }),
            ("width", "6", "8", { $0.width = 8 }), ("layers", "1", "2", { $0.layerCount = 2 }),
            ("heads", "2", "3", { $0.headCount = 3 }), ("context", "9", "10", { $0.contextLength = 10 }),
            ("attention", "none", "luong", { $0.attention = .luong }),
            ("similarity", "none", "cosine", { $0.similarity = .cosine }),
            ("dropout", "0.25", "0.5", { $0.dropoutRate = 0.5 }), ("batch", "2", "3", { $0.batchSize = 3 }),
            ("accumulate", "2", "1", { $0.accumulation = 1 }), ("steps", "7", "9", { $0.stepCount = 9 }),
            ("minutes", "none", "2.0", { $0.minutes = 2 }),
            ("learning rate", "0.001", "0.5", { $0.learningRate = 0.5 }),
            ("schedule", "cosine", "constant", { $0.schedule = .constant }),
            ("optimizer", "adamw", "sgd", { $0.optimizer = .sgd }),
            ("weight decay", "0.01", "0.1", { $0.weightDecay = 0.1 }),
            ("clip", "1.0", "2.0", { $0.maximumGradientNorm = 2 }), ("seed", "1", "2", { $0.seed = 2 }),
        ]
        for (name, stored, requested, change) in changes {
            var other = request
            change(&other)
            let error = failure { _ = try folder.run(other, resumed: true) }
            guard case .differs(folder.output, let differences)? = error else {
                Issue.record("\(name): \(String(describing: error))")
                continue
            }
            #expect(
                differences == [TrainingRunError.Difference(name: name, stored: stored, requested: requested)])
            #expect(error?.description.contains("  \(name): \(stored) there, \(requested) asked for") == true)
        }
        // Several at once, and nothing has happened to the run.
        var other = request
        (other.architecture, other.seed, other.size, other.headCount) = (.gru, 7, .tiny, nil)
        guard case .differs(_, let differences)? = failure({ _ = try folder.run(other, resumed: true) }) else {
            Issue.record("Nothing differs.")
            return
        }
        #expect(differences.map(\.name) == ["model", "seed"])
        #expect(try folder.run(request, resumed: true).notes == ["Going on after step 2."])
    }

    @Test func `say when corpus or tokenizer have changed, or are gone`() throws {
        let request = try folder.request(.gru)
        try TrainingFolder.finish(try folder.run(request), after: 2)
        func differences(_ request: TrainingRequest) -> [String] {
            guard case .differs(_, let differences)? = failure({ _ = try folder.run(request, resumed: true) }) else {
                return []
            }
            return differences.map(\.name)
        }
        try folder.write("text.txt", TrainingFolder.text.dropLast() + "!")
        #expect(differences(request) == ["corpus (fingerprint)"])
        #expect(differences(TrainingRequest()) == ["corpus (fingerprint)"])
        var other = request
        other.corpus = [try folder.write("copy.txt", TrainingFolder.text)]
        #expect(try folder.run(other, resumed: true).notes == ["Going on after step 2."])

        try FileManager.default.removeItem(atPath: request.corpus[0])
        guard
            case .corpus(.notFound(let path))? = failure({ _ = try folder.run(TrainingRequest(), resumed: true) })
        else {
            Issue.record("The corpus is gone, and nothing was said.")
            return
        }
        #expect(path == request.corpus[0])
        try folder.write("text.txt", TrainingFolder.text)
        try TokenizerFile.write(
            CharacterTokenizer(texts: ["abc"]), to: "\(folder.output)/tokenizer.json")
        #expect(differences(request) == ["tokenizer.json (fingerprint)"])
    }

    @Test func `need standard input again`() throws {
        var request = try folder.request(.gru)
        request.corpus = ["-"]
        let text = Array(TrainingFolder.text.utf8)
        try TrainingFolder.finish(
            try TrainingRun(request, output: folder.output, isResumed: false, standardInput: text), after: 2)
        guard case .invalidSettings(let reason)? = failure({ _ = try folder.run(TrainingRequest(), resumed: true) })
        else {
            Issue.record("Standard input was not asked for.")
            return
        }
        #expect(reason.contains("standard input, which is empty"))
        let run = try TrainingRun(request, output: folder.output, isResumed: true, standardInput: text)
        #expect(run.notes == ["Going on after step 2."])
    }

    @Test func `do not learn from runs that lie in their corpus`() throws {
        var request = try folder.request(.gru)
        request.corpus = [folder.path]
        try TrainingFolder.finish(try folder.run(request), after: 3)
        let run = try folder.run(request, resumed: true)
        #expect(run.notes == ["Going on after step 3."])
        #expect(try TrainingFolder.finish(run).stepCount == 7)
    }

    // MARK: - Damage

    @Test func `go on from the checkpoint before a damaged one, and say so`() throws {
        let request = try folder.request(.gru)
        try TrainingFolder.finish(try folder.run(request))
        let expected = try folder.result()
        for (index, name) in ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"].enumerated()
        {
            let output = "\(folder.path)/damaged-\(index)"
            try TrainingFolder.finish(try folder.run(request, output: output), after: 5)
            let file = "\(output)/checkpoints/step-00000005/\(name)"
            let bytes = try folder.bytes("checkpoints/step-00000005/\(name)", in: output)
            try folder.write(file, Array(bytes.prefix(bytes.count * (index + 1) / 5)))
            // Whoever loads the model is told as well.
            #expect(try LanguageModel(path: output).notes.first?.contains("step-00000005/\(name)") == true)
            let run = try folder.run(request, output: output, resumed: true)
            #expect(run.notes.count == 2)
            #expect(run.notes.first?.hasPrefix("A checkpoint was skipped: ") == true)
            #expect(run.notes.first?.contains("step-00000005/\(name)") == true)
            #expect(run.notes.last == "Going on after step 3.")
            try TrainingFolder.finish(run)
            expectSame(try folder.result(in: output), expected, "\(name) cut short")
        }
    }

    @Test func `begin again where all checkpoints are damaged, and say so`() throws {
        let request = try folder.request(.gru)
        try TrainingFolder.finish(try folder.run(request))
        let expected = try folder.result()
        let output = "\(folder.path)/damaged"
        try TrainingFolder.finish(try folder.run(request, output: output), after: 5)
        for step in [3, 5] { try folder.write("\(output)/checkpoints/step-0000000\(step)/model.safetensors", "") }
        #expect(throws: PretrainedModelError.self) { try LanguageModel(path: output) }
        let run = try folder.run(request, output: output, resumed: true)
        #expect(run.notes.count == 3)
        #expect(run.notes.prefix(2).allSatisfy { $0.hasPrefix("A checkpoint was skipped: ") })
        #expect(run.notes.last?.contains("begins at its first step") == true)
        try TrainingFolder.finish(run)
        expectSame(try folder.result(in: output), expected, "begun again")
    }

    @Test(arguments: ["run.json", "config.json", "tokenizer.json"])
    func `tell what is damaged in their folder`(name: String) throws {
        let request = try folder.request(.transformer, tokenizer: .bytePairs(vocabularySize: 260))
        try TrainingFolder.finish(try folder.run(request), after: 2)
        let whole = try folder.bytes(name)
        // Less than the line end makes it another file.
        for count in stride(from: 0, to: whole.count - 1, by: max(1, whole.count / 23)) {
            try folder.write("run/\(name)", Array(whole.prefix(count)))
            let error = failure { _ = try folder.run(request, resumed: true) }
            #expect(error?.description.contains(name) == true, "cut at \(count): \(String(describing: error))")
        }
        var generator = SeededGenerator(seed: 13)
        for _ in 0..<150 {
            try folder.write("run/\(name)", generator.mutation(of: whole, in: 0..<whole.count))
            // It may say the same in other words; else the error is typed.
            do throws(TrainingRunError) { _ = try folder.run(request, resumed: true) } catch { _ = error.description }
        }
        try folder.remove(name)
        #expect(failure { _ = try folder.run(request, resumed: true) } != nil)
        try folder.write("run/\(name)", whole)
        #expect(try folder.run(request, resumed: true).notes == ["Going on after step 2."])
    }

    @Test func `take no run.json that lies about the model for true`() throws {
        let request = try folder.request(.transformer)
        try TrainingFolder.finish(try folder.run(request), after: 2)
        let whole = String(decoding: try folder.bytes("run.json"), as: UTF8.self)
        // Each would take more memory than there is, were it made.
        for (old, new) in [
            ("\"width\" : 6", "\"width\" : 65536"), ("\"layerCount\" : 1", "\"layerCount\" : 1024"),
            ("\"contextLength\" : 9", "\"contextLength\" : 100"),
            ("\"architecture\" : \"transformer\"", "\"architecture\" : \"lstm\""),
            ("\"headCount\" : 2", "\"headCount\" : 3"), ("\"batchSize\" : 2", "\"batchSize\" : 0"),
            ("\"stepCount\" : 7", "\"stepCount\" : 9223372036854775807"),
        ] {
            let lie = whole.replacing(old, with: new)
            #expect(lie != whole)
            try folder.write("run/run.json", lie)
            guard case .unreadableRun(let path, _)? = failure({ _ = try folder.run(TrainingRequest(), resumed: true) })
            else {
                Issue.record("\(new) was believed.")
                continue
            }
            #expect(path == "\(folder.output)/run.json")
        }
    }

    @Test func `a batch that could not be held is refused`() throws {
        var request = try folder.request(.gru)
        (request.batchSize, request.contextLength) = (1 << 16, 1 << 20)
        let error = failure { _ = try folder.run(request) }
        #expect(error?.description.contains("beyond 2^26") == true)
    }

    // MARK: - Corpora

    /// A corpus, or a wish, that cannot be.
    struct BadCase: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var name = "bad.txt"
        var bytes = Array(TrainingFolder.text.utf8)
        var change: @Sendable (inout TrainingRequest) -> Void = { _ in }
        let isExpected: @Sendable (TrainingRunError) -> Bool
        let message: String
    }

    static let badCases = [
        BadCase(
            testDescription: "empty", bytes: [],
            isExpected: { if case .corpus(.empty) = $0 { true } else { false } }, message: "The corpus is empty"),
        BadCase(
            testDescription: "zero byte", bytes: [65, 66, 0, 67],
            isExpected: { if case .corpus(.zeroByte(_, 2)) = $0 { true } else { false } }, message: "byte 2 is zero"),
        BadCase(
            testDescription: "binary", bytes: [65, 0xFF],
            isExpected: { if case .corpus(.invalidUTF8(_, 1)) = $0 { true } else { false } }, message: "not valid"),
        BadCase(
            testDescription: "shorter than a window", bytes: Array("abcd".utf8),
            isExpected: {
                if case .corpusTooShort(tokenCount: 5, needed: 10, contextLength: 9) = $0 { true } else { false }
            }, message: "5 tokens, but one window of context 9 needs 10"),
        BadCase(
            testDescription: "shorter than a window of a model that would fill the memory", bytes: Array("abcd".utf8),
            change: { ($0.architecture, $0.contextLength, $0.width) = (.transformer, 1 << 20, 1 << 16) },
            isExpected: { if case .corpusTooShort = $0 { true } else { false } }, message: "smaller --context"),
        BadCase(
            testDescription: "no JSON", name: "bad.jsonl",
            bytes: Array("{\"source\": \"a\", \"target\": \"b\"}\n{".utf8),
            isExpected: { if case .corpus(.lineNotJSON(_, 2, _)) = $0 { true } else { false } }, message: "line 2"),
        BadCase(
            testDescription: "no pair", name: "bad.jsonl", bytes: Array(#"{"source": "a"}"#.utf8),
            isExpected: { if case .corpus(.lineNotPair(_, 1, "target")) = $0 { true } else { false } },
            message: "'target' is not a string"),
        BadCase(
            testDescription: "a vocabulary too large", change: { $0.tokenizer = .bytePairs(vocabularySize: 5000) },
            isExpected: {
                if case .tokenizerTraining(.vocabularyTooLarge(requested: 5000, _, _)) = $0 { true } else { false }
            }, message: "Ask for at most"),
        BadCase(
            testDescription: "a vocabulary too small", change: { $0.tokenizer = .bytePairs(vocabularySize: 20) },
            isExpected: { if case .tokenizerTraining(.vocabularyTooSmall) = $0 { true } else { false } },
            message: "Ask for 257 or more"),
        BadCase(
            testDescription: "gone", change: { $0.corpus = ["/nowhere/text.txt"] },
            isExpected: { if case .corpus(.notFound) = $0 { true } else { false } }, message: "/nowhere/text.txt"),
        BadCase(
            testDescription: "none", change: { $0.corpus = [] },
            isExpected: { if case .corpus(.nothingNamed) = $0 { true } else { false } }, message: "There is no corpus"),
    ]

    @Test(arguments: badCases) func `name what is wrong with a corpus, and write nothing`(example: BadCase) throws {
        var request = try folder.request(.gru)
        request.corpus = [try folder.write(example.name, example.bytes)]
        example.change(&request)
        let error = try #require(failure { _ = try folder.run(request) })
        #expect(example.isExpected(error), "\(error)")
        #expect(error.description.contains(example.message), "\(error)")
        #expect(!FileManager.default.fileExists(atPath: folder.output))
    }

    @Test func `learn as many tokens as the corpus supports where nobody says how many`() throws {
        var request = try folder.request(.gru)
        request.tokenizer = nil
        request.corpus = [try folder.write("same.txt", String(repeating: "all work and no play\n", count: 9600))]
        let run = try folder.run(request)
        guard case .bytePairs(let size) = run.settings.tokenizer else {
            Issue.record("\(run.settings.tokenizer)")
            return
        }
        #expect((258..<1024).contains(size) && run.vocabularySize == size)
        #expect(try folder.run(request, resumed: true).vocabularySize == size)
    }

    @Test func `name what makes no sense together, before anything is written`() throws {
        for (part, change) in [
            ("heads", { $0.headCount = 2 }), ("only seq2seq", { $0.attention = .luong }),
            ("similarity", { $0.similarity = .dot }),
            ("only with adamw", { ($0.optimizer, $0.weightDecay) = (.sgd, 0.1) }),
            ("dropout", { $0.dropoutRate = 1 }), ("learning rate", { $0.learningRate = .nan }),
            ("clip", { $0.maximumGradientNorm = -1 }), ("batch", { $0.batchSize = 0 }), ("steps", { $0.stepCount = 0 }),
            ("width", { $0.width = 1 << 17 }), ("weight decay", { $0.weightDecay = .infinity }),
            ("interval", { $0.checkpointInterval = 0 }), ("clip", { $0.maximumGradientNorm = .infinity }),
            ("MiB", { ($0.width, $0.layerCount) = (65_536, 1000) }),
            ("17 are enough", { ($0.architecture, $0.layerCount) = (.tcn, 64) }),
            ("beyond 1024", { ($0.architecture, $0.width, $0.headCount) = (.transformer, 2048, 2048) }),
        ] as [(String, (inout TrainingRequest) -> Void)] {
            var request = try folder.request(.gru)
            change(&request)
            guard case .invalidSettings(let reason)? = failure({ _ = try folder.run(request) }) else {
                Issue.record("\(part) was taken.")
                continue
            }
            #expect(reason.contains(part), "\(reason)")
            #expect(!FileManager.default.fileExists(atPath: folder.output))
        }
    }

    // MARK: - What goes wrong on the way

    @Test func `stop when the loss is no number, and the last checkpoint stands`() throws {
        var request = try folder.request(.gru)
        (request.optimizer, request.schedule, request.learningRate) = (.sgd, .constant, 1e38)
        (request.maximumGradientNorm, request.checkpointInterval, request.stepCount) = (0, 1, 50)
        let error = failure { try TrainingFolder.finish(try folder.run(request)) }
        guard case .training(.notFinite(let step, _, _), let checkpointStep)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(checkpointStep == step - 1 && step > 1)
        #expect(error?.description.contains("lower learning rate") == true)
        #expect(error?.description.contains("The checkpoint of step \(step - 1) stands.") == true)
        #expect(try folder.run(TrainingRequest(), resumed: true).notes == ["Going on after step \(step - 1)."])
        #expect(!folder.names().contains("model.safetensors"))
        // Before there is a checkpoint, that is said.
        request.checkpointInterval = 100
        let other = failure { try TrainingFolder.finish(try folder.run(request, output: "\(folder.path)/other")) }
        #expect(other?.description.hasSuffix("There is no checkpoint yet.") == true)
    }

    @Test func `name the folder that cannot be written`() throws {
        let request = try folder.request(.rnn)
        let file = try folder.write("file", "here")
        for (output, reason) in [(file, "it is a file"), ("/proc/training", "cannot be made")] {
            guard case .unusableFolder(output, let found)? = failure({ _ = try folder.run(request, output: output) })
            else {
                Issue.record("\(output) was written to.")
                continue
            }
            #expect(found.contains(reason))
        }
        #expect(failure { _ = try folder.run(request, output: "\(file)/below") } != nil)
        #expect(try folder.bytes("file", in: folder.path) == Array("here".utf8))
    }

    #if os(Linux)
        /// Whether this process may mount disks: root often may not either, in a container.
        private static let mayMount: Bool = {
            guard let folder = try? TrainingFolder() else { return false }
            guard mount("tmpfs", folder.path, "tmpfs", 0, "size=65536") == 0 else { return false }
            return umount2(folder.path, Int32(MNT_DETACH)) == 0
        }()

        @Test(.enabled(if: mayMount, "a disk of its own cannot be mounted"))
        func `stop when the disk is full, and go on when there is room`() throws {
            var request = try folder.request(.gru)
            (request.width, request.checkpointInterval) = (32, 2)
            try TrainingFolder.finish(try folder.run(request))
            let expected = try folder.result()
            let checkpointSize = try ["model", "optimizer"].reduce(0) {
                $0 + (try folder.bytes("checkpoints/step-00000006/\($1).safetensors").count)
            }
            let disk = "\(folder.path)/disk"
            try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
            // Room for one checkpoint and not for another.
            try #require(mount("tmpfs", disk, "tmpfs", 0, "size=\(checkpointSize * 3 / 2 + (64 << 10))") == 0)
            defer { umount2(disk, Int32(MNT_DETACH)) }
            let error = failure { try TrainingFolder.finish(try folder.run(request, output: "\(disk)/run")) }
            guard case .checkpoint(.file(let problem))? = error, case .diskFull = problem.problem else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(error?.description.contains("the disk has no room for its") == true)
            #expect(try CheckpointFolder("\(disk)/run/checkpoints").steps() == [2])
            #expect(mount("tmpfs", disk, "tmpfs", UInt(MS_REMOUNT), "size=4194304") == 0)
            let run = try folder.run(request, output: "\(disk)/run", resumed: true)
            #expect(run.notes == ["Going on after step 2."])
            try TrainingFolder.finish(run)
            expectSame(try folder.result(in: "\(disk)/run"), expected, "after the disk was full")
        }
    #endif
}
