(function(d){
d.documentElement.classList.add('js');
var say=d.getElementById('say');
function copy(t){
  if(navigator.clipboard&&navigator.clipboard.writeText)return navigator.clipboard.writeText(t);
  return new Promise(function(ok,no){var a=d.createElement('textarea');a.value=t;a.className='vh';
    d.body.appendChild(a);a.select();var r=d.execCommand('copy');d.body.removeChild(a);r?ok():no();});}
d.querySelectorAll('.cmd button').forEach(function(b){b.addEventListener('click',function(){
  var c=b.parentNode.querySelector('code');
  copy(c.textContent).then(function(){b.textContent='Copied';say.textContent='Command copied';
    setTimeout(function(){b.textContent='Copy';},1600);},
  function(){getSelection().selectAllChildren(c);b.textContent='Selected';say.textContent='Command selected, copy it by hand';});});});
function open(id){var e=id&&d.getElementById(id.slice(1));e=e&&e.closest('details');if(e)e.open=true;}
d.querySelectorAll('a[href^="#"]').forEach(function(a){a.addEventListener('click',function(){open(a.getAttribute('href'));});});
open(location.hash);
})(document);
