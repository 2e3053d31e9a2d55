" What llama.vim does in Neovim, as one JSON object: nvim --clean --headless -S llama_vim.vim (URL in $TOUCHSTONE_URL)
" The request is built from a buffer and sent through curl by jobstart, as the plugin does; its display is left out.

let s:said = {'chunks': []}

function! s:request(more) abort
  let l:row = line('.')
  let l:before = getline('.')[: col('.') - 2]
  let l:after = getline('.')[col('.') - 1 :]
  let l:body = {
        \ 'input_prefix': join(getline(1, l:row - 1), "\n") . "\n",
        \ 'input_suffix': l:after . "\n" . join(getline(l:row + 1, '$'), "\n") . "\n",
        \ 'input_extra': [{'text': "def one():\n    return 1\n", 'time': reltime(), 'filename': 'one.py'}],
        \ 'prompt': l:before,
        \ 'n_predict': 128,
        \ 'n_indent': indent('.'),
        \ 'top_k': 40,
        \ 'top_p': 0.99,
        \ 'stream': v:false,
        \ 'samplers': ['top_k', 'top_p', 'infill'],
        \ 'cache_prompt': v:true,
        \ 't_max_prompt_ms': 500,
        \ 't_max_predict_ms': 10000,
        \ 'response_fields': ['content', 'timings/prompt_n', 'timings/predicted_n', 'truncated', 'tokens_cached'],
        \ }
  return json_encode(extend(l:body, a:more))
endfunction

function! s:send(request) abort
  let l:command = ['curl', '--silent', '--no-buffer', '--request', 'POST', '--url', $TOUCHSTONE_URL . '/infill',
        \ '--header', 'Content-Type: application/json', '--data', '@-']
  let l:job = jobstart(l:command, {
        \ 'on_stdout': {job, data, event -> add(s:said.chunks, join(data, "\n"))}, 'stdout_buffered': v:true})
  call chansend(l:job, a:request)
  call chanclose(l:job, 'stdin')
  return l:job
endfunction

function! s:answer(request) abort
  let s:said.chunks = []
  call jobwait([s:send(a:request)], 60000)
  call wait(1000, {-> len(s:said.chunks)}, 10)
  return json_decode(s:said.chunks[0])
endfunction

call setline(1, ['def vowels(text):', '    count = 0', '    for c in text:', '        ', '            count += 1', '    return count'])
call cursor(4, 9)
set virtualedit=all
call cursor(4, 9)
" The ring of other files is sent ahead, with nothing to be sampled.
let s:said.warmed = s:answer(s:request({'prompt': '', 'n_predict': 0, 'samplers': [], 't_max_predict_ms': 1, 'response_fields': ['']}))
" One key too many: the request under way is stopped for the next.
call jobstop(s:send(s:request({})))
let s:said.reply = s:answer(s:request({}))
let s:said.several = len(s:answer(s:request({'n_cmpl': 3, 'response_fields': ['content']})))
" Accepted as a whole, it stands in the buffer.
let s:lines = split(s:said.reply.content, "\n", 1)
call setline(4, getline(4) . s:lines[0])
call append(4, s:lines[1:])
let s:said.buffer = getline(1, '$')
call remove(s:said, 'chunks')
call writefile([json_encode(s:said)], '/dev/stdout')
quitall!
