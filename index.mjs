export { bulkPipeline, RespipeError } from './index.js'
