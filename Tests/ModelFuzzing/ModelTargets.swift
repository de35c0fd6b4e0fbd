import Attention
public import FileFuzzing
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport

extension FuzzTarget {
    /// The readers of PretrainedModels, and those of whole folders.
    public static var models: [FuzzTarget] {
        [sentenceFolder, trainedFolder, llama, checkpointFolder, shardIndex, trainingSettings]
    }

    private static func folder(
        _ name: String, maximumByteCount: Int, seed: String, _ files: @escaping @Sendable () -> FuzzFolder,
        run: @escaping @Sendable (String) -> Void
    ) -> FuzzTarget {
        FuzzTarget(
            name, maximumByteCount: maximumByteCount, seeds: { [(seed, files().example)] },
            mutate: JSONMutation.mutated,
            run: { bytes in
                let files = files()
                if files.write(bytes) { run(files.path) }
            })
    }

    /// The files beside the weights of an encoder: `config.json`, and those of sentence-transformers.
    static let sentenceFolder = folder(
        "sentence-folder", maximumByteCount: 3072, seed: "bert", { Folders.sentences },
        run: { path in
            guard let embedder = try? TextEmbedder(folder: path),
                let vectors = try? embedder.embeddings(of: ["a the z", "", "[CLS] b"])
            else { return }
            hold(vectors.shape == [3, embedder.dimension], "The vectors have the shape \(vectors.shape).")
        })

    /// The files beside the weights of a model that was trained here.
    static let trainedFolder = folder(
        "trained-folder", maximumByteCount: 1024, seed: "transformer", { Folders.trained },
        run: { path in
            guard let model = try? LanguageModel(path: path), let tokens = try? model.promptTokens(of: "ab"),
                !tokens.isEmpty
            else { return }
            _ = model.greedyContinuation(of: tokens, maximumCount: 2)
        })

    /// A language model in a GGUF file.
    static let llama = FuzzTarget(
        "llama", maximumByteCount: 8192,
        seeds: {
            var model = TinyLlama()
            (model.layerCount, model.modelDimension, model.headCount, model.keyValueHeadCount) = (1, 8, 2, 1)
            (model.feedForwardDimension, model.alphabet, model.merges) = (8, Array("abt ".utf8), ["Ġ t"])
            return [("tiny", model.contents.bytes)]
        },
        mutate: GGUFMutation.mutated,
        run: { bytes in
            guard let file = try? GGUFFile(MappedFile(bytes: Array(bytes), path: "fuzzed.gguf")),
                let model = try? LanguageModel(file), let tokens = try? model.promptTokens(of: "a tab"), !tokens.isEmpty
            else { return }
            _ = model.greedyContinuation(of: tokens, maximumCount: 2)
        })

    /// A folder of checkpoints, of which an older one is whole.
    static let checkpointFolder = folder(
        "checkpoint-folder", maximumByteCount: 1024, seed: "whole", { Folders.checkpoints },
        run: { path in
            guard let found = try? CheckpointFolder(path).newestReadable() else { return }
            hold(found.checkpoint != nil, "The older checkpoint is not found.")
            _ = try? found.checkpoint?.json("state.json")
            _ = try? found.checkpoint?.tensors("model.safetensors")
        })

    /// The index of a model in several files.
    static let shardIndex = folder(
        "shard-index", maximumByteCount: 1024, seed: "two", { Folders.shards },
        run: { path in
            guard let checkpoint = try? SafetensorsCheckpoint(folder: path) else { return }
            for tensor in checkpoint.tensors {
                hold(checkpoint.tensor(named: tensor.name) != nil, "A tensor is not found.")
                _ = tensor.data.withUnsafeBytes { $0.reduce(0, &+) }
            }
        })

    /// What `run.json` says of a training run.
    static let trainingSettings = FuzzTarget(
        "run-json", maximumByteCount: 1536,
        seeds: {
            let file = try? MappedFile(reading: "\(Folders.trained.path)/run.json")
            return [("small", file.map { file in file.withUnsafeBytes { Array($0) } } ?? [])]
        },
        mutate: JSONMutation.mutated,
        run: { bytes in
            guard let settings = try? JSONDecoder().decode(TrainingSettings.self, from: Data(bytes)),
                settings.problem == nil
            else { return }
            hold(settings.configuration(vocabularySize: 2).problem == nil, "The settings describe no model.")
            let again = try? JSONDecoder().decode(TrainingSettings.self, from: JSONEncoder().encode(settings))
            hold(again == settings, "What was written is read as other settings.")
        })
}

/// The folders of the targets, each made when it is first asked for.
private enum Folders {
    static let sentences = FuzzFolder([
        "config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer_config.json",
        "config_sentence_transformers.json", "vocab.txt",
    ]) { path in
        try TinyBERT().write(to: path)
        try TinyBERT().writeSentenceFiles(to: path)
        let prompts = #"{"prompts": {"query": "a ", "passage": ""}, "default_prompt_name": "query"}"#
        try Data(prompts.utf8).write(to: URL(fileURLWithPath: "\(path)/config_sentence_transformers.json"))
    }

    static let trained = FuzzFolder(["config.json", "tokenizer.json"]) { path in
        var request = TrainingRequest()
        request.corpus = ["-"]
        (request.width, request.layerCount, request.contextLength) = (8, 1, 8)
        (request.stepCount, request.batchSize) = (1, 1)
        var run = try TrainingRun(
            request, output: path, isResumed: false,
            standardInput: Array(String(repeating: "abc, cab. ", count: 40).utf8))
        _ = try run.run()
    }

    static let checkpoints = FuzzFolder(
        ["manifest.json", "state.json", "model.safetensors"].map { "step-00000002/\($0)" },
        prepare: { path in
            for step in 1...2 {
                try CheckpointFolder(path).write(
                    step: step,
                    [
                        .init("state.json", .bytes(Array("{\"step\": \(step)}".utf8))),
                        .init("model.safetensors", .bytes([8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8))),
                    ])
            }
        })

    static let shards = FuzzFolder([SafetensorsCheckpoint.indexName]) { path in
        for (file, names) in [("model-1.safetensors", ["a", "b"]), ("model-2.safetensors", ["c"])] {
            try SafetensorsFile.write(
                tensors: names.map { .init(name: $0, elementType: .uint8, shape: [1], bytes: [1]) },
                to: "\(path)/\(file)")
        }
        let index =
            #"{"metadata":{"total_size":3},"weight_map":{"a":"model-1.safetensors","b":"model-1.safetensors","#
            + #""c":"model-2.safetensors"}}"#
        try Data(index.utf8).write(to: URL(fileURLWithPath: "\(path)/\(SafetensorsCheckpoint.indexName)"))
    }
}
