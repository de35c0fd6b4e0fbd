import ModelFiles
import PretrainedModels
import SequenceModels
import Attention
let clock = ContinuousClock()
var model: LanguageModel!
print(try clock.measure { model = try LanguageModel(path: try ModelLocator().path(of: nil)) })
let text = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "The FBI is chasing"
let ids = try model.tokenizer.encode(text)
print(ids)
var hidden: Tensor!
for _ in 0..<3 {
print(clock.measure { hidden = model.transformer.trace(model.transformer.embed([ids.map(Int.init)]), recording: TraceRequest(weights: 0..<ids.count)).hiddenStates })
}
print(clock.measure { _ = model.transformer.embedding.meanRow })
let logits = model.transformer.logits(of: hidden).floats
print(logits.suffix(49152).prefix(5))
var out: [Int32] = []
print(clock.measure { out = model.greedyContinuation(of: ids, maximumCount: 32) })
print(out, try model.tokenizer.decode(ids + out))
