internal import Attention
internal import Foundation
internal import ModelFiles
internal import SequenceModels

/// A folder that training wrote: `config.json`, `tokenizer.json`, `model.safetensors`, and `checkpoints`.
struct ModelFolder {
    let path: String

    var descriptionPath: String { "\(path)/\(ModelDescription.fileName)" }
    var tokenizerPath: String { "\(path)/tokenizer.json" }
    var parametersPath: String { "\(path)/model.safetensors" }
    var checkpointsPath: String { "\(path)/checkpoints" }

    /// Whether there is such a folder at a path.
    static func isOne(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: ModelFolder(path: path).descriptionPath)
    }

    /// Loads the model: what training ended with, or where it has not ended, its newest whole checkpoint.
    func load(mapped: Bool = true) throws(PretrainedModelError) -> LanguageModel {
        let (parameters, notes) = try parameters(mapped: mapped)
        let description = try readDescription(parameterByteCount: parameters.file.count)
        let tokenizer = try readTokenizer()
        guard tokenizer.vocabularySize == description.configuration.vocabularySize else {
            throw .invalidConfiguration(
                path: descriptionPath, key: "vocabularySize", value: "\(description.configuration.vocabularySize)",
                wanted: "\(tokenizer.vocabularySize), as '\(tokenizerPath)' has")
        }
        var random = RandomStream(seed: 0)
        let model = try loaded(description.configuration.model(random: &random), from: parameters)
        return LanguageModel(
            name: path.split(separator: "/").last.map(String.init) ?? path, path: path, model: model,
            tokenizer: tokenizer, prompting: description.prompting, notes: notes)
    }

    func readDescription(parameterByteCount: Int) throws(PretrainedModelError) -> ModelDescription {
        do {
            let bytes = try MappedFile(reading: descriptionPath)
            let json = try bytes.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes) }
            return try ModelDescription(json, path: descriptionPath, parameterByteCount: parameterByteCount)
        } catch let error as PretrainedModelError {
            throw error
        } catch {
            throw .unreadableFolder(path: descriptionPath, reason: "\(error)")
        }
    }

    func readTokenizer() throws(PretrainedModelError) -> any TextTokenizer {
        do {
            return try TokenizerFile.read(tokenizerPath)
        } catch {
            throw .unreadableFolder(path: tokenizerPath, reason: error.description)
        }
    }

    private func loaded(
        _ model: some SequenceModel, from file: SafetensorsFile
    ) throws(PretrainedModelError) -> any SequenceModel {
        try ParameterFile.layer(model, from: file, path: file.file.path)
    }

    /// The parameters, and what to tell of checkpoints that were skipped.
    func parameters(mapped: Bool) throws(PretrainedModelError) -> (SafetensorsFile, notes: [String]) {
        if FileManager.default.fileExists(atPath: parametersPath) {
            do {
                return (try SafetensorsFile(path: parametersPath, mapped: mapped), [])
            } catch {
                throw .unreadableTensors(error)
            }
        }
        let found: (checkpoint: CheckpointFolder.Checkpoint?, skipped: [CheckpointError])
        do {
            found = try CheckpointFolder(checkpointsPath).newestReadable()
            if let checkpoint = found.checkpoint {
                let notes = found.skipped.map { "A checkpoint was skipped, the one before it is read: \($0)" }
                return (try checkpoint.tensors("model.safetensors"), notes)
            }
        } catch {
            throw .unreadableFolder(path: checkpointsPath, reason: error.description)
        }
        throw .unreadableFolder(
            path: path,
            reason: found.skipped.first.map { "no checkpoint in it is whole: \($0)" }
                ?? "it holds neither model.safetensors nor a checkpoint. Train it with attend train")
    }
}
